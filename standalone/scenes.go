package standalone

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// maxLine bounds a line of a scene file that is read back.
const maxLine = 16 << 20

// SceneFile writes one line of JSON per stored scene, each source in frame order, each scene once.
type SceneFile struct {
	path string
	file *os.File

	mu      sync.Mutex
	written map[session]uint64 // seq of the last line
	changed chan struct{}      // closed and replaced after every line
	gap     error
}

type session struct{ source, name string }

// CreateSceneFile begins a file anew.
func CreateSceneFile(path string) (*SceneFile, error) {
	return openSceneFile(path, os.O_TRUNC)
}

// ContinueSceneFile goes on with a file that a killed process left: a torn last line is cut off, what is written
// is not written again. [ErrSceneFile] is returned when the file holds something else than scenes.
func ContinueSceneFile(path string) (*SceneFile, error) {
	s, err := openSceneFile(path, 0)
	if err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

func openSceneFile(path string, flags int) (*SceneFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|flags, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open scene file: %w", err)
	}
	return &SceneFile{path: path, file: file, written: map[session]uint64{}, changed: make(chan struct{})}, nil
}

func (s *SceneFile) recover() error {
	lines := bufio.NewScanner(s.file)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	var whole int64
	number := 0
	for lines.Scan() {
		number++
		var scene struct {
			Frame flow.FrameID `json:"frame"`
		}
		err := json.Unmarshal(lines.Bytes(), &scene)
		if err == nil {
			err = scene.Frame.Validate()
		}
		if err != nil {
			return fmt.Errorf("%w: %s, line %d: %w (move the file away, or name another)", ErrSceneFile, s.path, number, err)
		}
		s.written[session{scene.Frame.Source, scene.Frame.Session}] = scene.Frame.Seq
		whole += int64(len(lines.Bytes()))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %s, line %d: %w", ErrSceneFile, s.path, number+1, err)
	}
	if err := s.file.Truncate(whole); err != nil {
		return fmt.Errorf("cut the torn line off scene file: %w", err)
	}
	if _, err := s.file.Seek(whole, io.SeekStart); err != nil {
		return fmt.Errorf("find the end of scene file: %w", err)
	}
	return nil
}

// wholeLines is a bufio.SplitFunc that gives lines with their newline, and not a last one without.
func wholeLines(data []byte, _ bool) (advance int, token []byte, err error) {
	end := bytes.IndexByte(data, '\n') + 1
	if end == 0 {
		return 0, nil, nil
	}
	return end, data[:end], nil
}

// Write writes the stored scenes of the sessions that ours accepts, old ones first, then as they come, until ctx ends.
func (s *SceneFile) Write(ctx context.Context, b *bus.Bus, log *slog.Logger, ours func(source, session string) bool) error {
	var line []byte
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := bus.Follow(ctx, log, b.ReadScenes, func(msg jetstream.Msg) {
		if failed != nil {
			return
		}
		if line, failed = s.write(msg, line, ours); failed != nil {
			cancel()
		}
	})
	return errors.Join(failed, err)
}

func (s *SceneFile) write(msg jetstream.Msg, line []byte, ours func(source, session string) bool) ([]byte, error) {
	scene := new(flow.Scene)
	if err := flow.Decode(msg.Data(), scene); err != nil {
		return line, fmt.Errorf("read stored scene: %w", err)
	}
	key := session{scene.Source, scene.Session}
	if !ours(scene.Source, scene.Session) {
		return line, nil
	}
	s.mu.Lock()
	last := s.written[key]
	s.mu.Unlock()
	if scene.Seq <= last {
		return line, nil
	}
	line, err := scene.AppendLine(line[:0])
	if err != nil {
		return line, fmt.Errorf("write scene %s: %w", scene.ID(), err)
	}
	if _, err := s.file.Write(line); err != nil {
		return line, fmt.Errorf("write scene %s: %w", scene.ID(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if scene.Seq != last+1 && s.gap == nil {
		s.gap = fmt.Errorf("%w: %s/%s: scenes %d to %d are no longer kept", ErrSceneFile, scene.Source, scene.Session, last+1, scene.Seq-1)
	}
	s.written[key] = scene.Seq
	close(s.changed)
	s.changed = make(chan struct{})
	return line, nil
}

// Wait returns when the scene of seq is written; an error when it isn't within the time.
func (s *SceneFile) Wait(ctx context.Context, source, name string, seq uint64, within time.Duration) error {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		last, changed := s.written[session{source, name}], s.changed
		s.mu.Unlock()
		if last >= seq {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			return fmt.Errorf("%w: %s: %s/%s ends at scene %d of %d", ErrSceneFile, s.path, source, name, last, seq)
		}
	}
}

// Close closes the file. [ErrSceneFile] is returned when scenes are missing in it.
func (s *SceneFile) Close() error {
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close scene file: %w", err)
	}
	return s.gap
}
