package live

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway/live/smaller"
	"github.com/spatial-flow/spatial-flow/gateway/still"
)

// frame is a stored frame as it came, and its picture once somebody looks.
type frame struct {
	id      flow.FrameID
	size    int64
	came    time.Time
	picture func() ([]byte, error) // the JPEG; decodes the message at the first call
	smaller sizes[[]byte]
	drawn   sizes[drawn]
}

// sizes are what was made of something, by width: each once, for all who want it.
type sizes[T any] struct {
	mu   sync.Mutex
	made map[int]func() T
}

// at is what was made for a width, or is made now.
func (s *sizes[T]) at(width int, make func() T) T {
	s.mu.Lock()
	made := s.made[width]
	if made == nil {
		made = sync.OnceValue(make)
		if s.made == nil {
			s.made = map[int]func() T{}
		}
		s.made[width] = made
	}
	s.mu.Unlock()
	return made()
}

// sized is the picture, at most so wide; 0: as it is.
func (f *frame) sized(width int, maker *smaller.Maker) ([]byte, error) {
	whole, err := f.picture()
	if err != nil || width == 0 {
		return whole, err
	}
	return f.smaller.at(width, func() []byte { return maker.Picture(whole, width) }), nil
}

// drawn is a picture that was drawn on, or why it could not be.
type drawn struct {
	picture []byte
	err     error
}

// boxes is the picture with what its scene detects, drawn when there is a turn; turns bounds how many are drawn at once.
func (f *frame) boxes(detections []api.Detection, turns chan struct{}) ([]byte, error) {
	whole, err := f.picture()
	if err != nil {
		return nil, err
	}
	made := f.drawn.at(0, func() drawn {
		turns <- struct{}{}
		defer func() { <-turns }()
		picture, err := still.Boxes(whole, detections)
		return drawn{picture, err}
	})
	return made.picture, made.err
}

func newFrame(id flow.FrameID, raw []byte) *frame {
	return &frame{id: id, size: int64(len(raw)), came: time.Now(), picture: sync.OnceValues(func() ([]byte, error) {
		message := raw
		raw = nil // the picture is a slice of its own
		var f flow.Frame
		if err := flow.Decode(message, &f); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFrame, id, err)
		}
		if f.ID() != id {
			return nil, fmt.Errorf("%w: message ID says %s, frame says %s", ErrFrame, id, f.ID())
		}
		return f.Picture, nil
	})}
}

// frameStore keeps the frames of one source, in order of arrival, until their scenes come.
type frameStore struct {
	frames []*frame
	bytes  int64
}

// add keeps a frame within limit bytes. Frames of other sessions make room for it; those of its own do not, for
// theirs are the next scenes: then the frame is refused. freed is what was given up, in bytes.
func (s *frameStore) add(f *frame, limit int64) (kept bool, freed int64) {
	if slices.ContainsFunc(s.frames, func(o *frame) bool { return o.id == f.id }) {
		return true, 0
	}
	if s.bytes+f.size > limit {
		freed = s.remove(func(o *frame) bool { return o.id.Session != f.id.Session })
	}
	if s.bytes+f.size > limit {
		return false, freed
	}
	s.frames = append(s.frames, f)
	s.bytes += f.size
	return true, freed
}

// take removes and returns the frame of a scene, with the frames that no later scene can need: the earlier ones of
// its session, and those of the session before, unless that is empty. freed counts the returned one too.
func (s *frameStore) take(id flow.FrameID, before string) (found *frame, freed int64) {
	freed = s.remove(func(f *frame) bool {
		if f.id == id {
			found = f
		}
		return f.id.Session == id.Session && f.id.Seq <= id.Seq || f.id.Session == before && before != id.Session
	})
	return found, freed
}

// expire gives up what came before a time.
func (s *frameStore) expire(before time.Time) (freed int64) {
	return s.remove(func(f *frame) bool { return f.came.Before(before) })
}

func (s *frameStore) remove(which func(*frame) bool) (freed int64) {
	s.frames = slices.DeleteFunc(s.frames, func(f *frame) bool {
		out := which(f)
		if out {
			freed += f.size
		}
		return out
	})
	s.bytes -= freed
	return freed
}
