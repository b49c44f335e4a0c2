package picture

import (
	"errors"
	"slices"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	sharedBytes = 64 << 20        // of pictures that are shared, in all: 50 of 768×576
	sharedFor   = 5 * time.Second // then a picture no longer waits for groups that have not come for it
)

// Shared holds decoded pictures for worker groups that run in one process: a frame's picture is decoded by the group that
// takes it first, and is there for the others of its plan. It serves many goroutines.
type Shared struct {
	groups []string

	mu    sync.Mutex
	held  map[sharedID]*decoded
	bytes int         // of all that are held or used
	sweep *time.Timer // nil when nothing is held
}

// sharedID tells frames apart, also those that are repeated with another picture.
type sharedID struct {
	flow.FrameID
	mode flow.Mode
	size int // bytes of the encoded picture
}

// NewShared makes one that holds nothing, for these groups: others of a plan work elsewhere, and no picture waits for them.
func NewShared(groups ...string) *Shared {
	return &Shared{groups: groups, held: map[sharedID]*decoded{}}
}

// decoded is one frame's picture. Nobody writes to it.
type decoded struct {
	ready  chan struct{} // closed when pixels and err are there
	pixels gocv.Mat
	width  int // of the picture, whose pixels may be fewer
	height int
	err    error

	// Under the mutex of its Shared.
	bytes  int
	since  time.Time
	awaits []string // groups that have not come for it; none: it is not held
	users  int
}

var (
	errAlone     = errors.New("no room to share the picture")
	errUndecoded = errors.New("decoding was not finished")
)

// DecodeFrame is [Picture.Decode] of a frame's picture for one group of the frame's plan. [Picture.Trim] gives back what is
// shared.
func (p *Picture) DecodeFrame(s *Shared, frame *flow.Frame, group string) error {
	p.release()
	d, first := s.join(sharedID{frame.ID(), frame.Mode, len(frame.Picture)}, frame.Plan, group)
	switch {
	case d == nil:
		return p.Decode(frame.Picture)
	case first:
		p.from, p.shared = s, d
		return p.fill(d, frame.Picture)
	}
	<-d.ready
	if d.err != nil {
		s.leave(d)
		if errors.Is(d.err, errAlone) {
			return p.Decode(frame.Picture)
		}
		return d.err
	}
	p.pixels.Close()
	p.pixels, p.width, p.height, p.from, p.shared = d.pixels, d.width, d.height, s, d
	return nil
}

// fill decodes what p is the first to need.
func (p *Picture) fill(d *decoded, data []byte) error {
	ready := sync.OnceFunc(func() { close(d.ready) })
	defer ready()
	f, err := p.open(data)
	if err != nil {
		d.err = err
		return err
	}
	if width, height := f.size(); !p.from.reserve(d, 3*width*height) {
		d.err = errAlone
		ready()
		return p.decode(f)
	}
	if d.err = p.decode(f); d.err == nil {
		d.pixels, d.width, d.height = p.pixels, p.width, p.height
	}
	return d.err
}

// release gives a shared picture back.
func (p *Picture) release() {
	if p.shared == nil {
		return
	}
	if p.pixels.Ptr() == p.shared.pixels.Ptr() {
		p.pixels, p.width, p.height = gocv.NewMat(), 0, 0
	}
	p.from.leave(p.shared)
	p.from, p.shared = nil, nil
}

// join returns a frame's picture, and whether the group is the first, which decodes it. None is returned when the group is
// alone with it, or had it before.
func (s *Shared) join(id sharedID, plan []string, group string) (d *decoded, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d = s.held[id]
	if d == nil {
		others := slices.DeleteFunc(slices.Clone(plan), func(g string) bool { return g == group || !slices.Contains(s.groups, g) })
		if len(others) == 0 {
			return nil, false
		}
		d = &decoded{ready: make(chan struct{}), err: errUndecoded, since: time.Now(), awaits: others, users: 1}
		s.held[id] = d
		if s.sweep == nil {
			s.sweep = time.AfterFunc(sharedFor, s.sweepAll)
		}
		return d, true
	}
	i := slices.Index(d.awaits, group)
	if i < 0 {
		return nil, false
	}
	d.users++
	if d.awaits = slices.Delete(d.awaits, i, i+1); len(d.awaits) == 0 {
		delete(s.held, id)
	}
	return d, false
}

// reserve makes room for a picture. When there is none, false is returned and those who have not joined will not.
func (s *Shared) reserve(d *decoded, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+bytes <= sharedBytes {
		d.bytes = bytes
		s.bytes += bytes
		return true
	}
	s.drop(func(o *decoded) bool { return o == d })
	return false
}

// leave ends one's use of a picture.
func (s *Shared) leave(d *decoded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.users--
	s.free(d)
}

// sweepAll drops the pictures that have waited for too long, and comes again for the others.
func (s *Shared) sweepAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.drop(func(d *decoded) bool { return now.Sub(d.since) >= sharedFor })
	if s.sweep = nil; len(s.held) > 0 {
		s.sweep = time.AfterFunc(sharedFor/4, s.sweepAll)
	}
}

// drop ends the wait for some pictures, under s.mu.
func (s *Shared) drop(which func(*decoded) bool) {
	for id, d := range s.held {
		if which(d) {
			delete(s.held, id)
			d.awaits = nil
			s.free(d)
		}
	}
}

// free frees a picture that nobody uses or awaits, under s.mu.
func (s *Shared) free(d *decoded) {
	if d.users > 0 || len(d.awaits) > 0 {
		return
	}
	s.bytes -= d.bytes
	if d.pixels.Ptr() != nil {
		d.pixels.Close()
	}
}
