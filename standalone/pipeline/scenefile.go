package pipeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
)

// maxLine bounds a line of a scene file that is read back.
const maxLine = 16 << 20

// sceneFile has one line of JSON per scene.
type sceneFile struct {
	path    string
	file    *os.File // nil: what it is written to is another's
	out     io.Writer
	written map[session]uint64 // seq of the last line, when it was opened
	old     bool               // what is in it goes with the first scene
	line    []byte
}

// createSceneFile begins a file anew; what is in it stays until the first scene comes.
func createSceneFile(path string) (*sceneFile, error) {
	s, err := openSceneFile(path)
	if err != nil {
		return nil, err
	}
	info, err := s.file.Stat()
	if err != nil {
		s.file.Close()
		return nil, fmt.Errorf("open scene file: %w", err)
	}
	s.old = info.Mode().IsRegular() && info.Size() > 0
	return s, nil
}

// continueSceneFile goes on with a file that a killed process left: a torn last line is cut off, what is written
// is not written again. [ErrSceneFile] is returned when the file holds something else than scenes.
func continueSceneFile(path string) (*sceneFile, error) {
	s, err := openSceneFile(path)
	if err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

func openSceneFile(path string) (*sceneFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open scene file: %w", err)
	}
	return &sceneFile{path: path, file: file, out: file, written: map[session]uint64{}}, nil
}

func (s *sceneFile) recover() error {
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
	if err := s.checkTorn(whole, number+1); err != nil {
		return err
	}
	if err := s.file.Truncate(whole); err != nil {
		return fmt.Errorf("cut the torn line off scene file: %w", err)
	}
	if _, err := s.file.Seek(whole, io.SeekStart); err != nil {
		return fmt.Errorf("find the end of scene file: %w", err)
	}
	return nil
}

// lineBegins is how every line of a scene file begins.
const lineBegins = `{"frame":{"source":"`

// checkTorn returns [ErrSceneFile] when what follows the whole lines is not the beginning of a scene: it is not ours to cut.
func (s *sceneFile) checkTorn(whole int64, number int) error {
	torn := make([]byte, len(lineBegins))
	n, err := s.file.ReadAt(torn, whole)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the end of scene file: %w", err)
	}
	if !strings.HasPrefix(lineBegins, string(torn[:n])) {
		return fmt.Errorf("%w: %s, line %d is no scene (move the file away, or name another)", ErrSceneFile, s.path, number)
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

// Take writes a scene.
func (s *sceneFile) Take(scene *flow.Scene) (err error) {
	if s.old {
		err, s.old = s.file.Truncate(0), false
	}
	if err == nil {
		s.line, err = scene.AppendLine(s.line[:0])
	}
	if err == nil {
		_, err = s.out.Write(s.line)
	}
	if err != nil {
		return fmt.Errorf("write scene %s: %w", scene.ID(), err)
	}
	return nil
}

// Close closes the file.
func (s *sceneFile) Close() error {
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close scene file: %w", err)
	}
	return nil
}
