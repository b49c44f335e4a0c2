package live

import (
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/live/smaller"
	"github.com/spatial-flow/spatial-flow/gateway/still"
)

// shown is a scene as viewers get it.
type shown struct {
	scene *flow.Scene
	json  api.Scene
	frame *frame                 // nil: gone
	depth *depthMap              // the scene's own, or nil
	head  func() ([]byte, error) // of the header; encoded at the first call
}

func newShown(scene *flow.Scene) *shown {
	s := &shown{scene: scene, json: scene.JSON()}
	s.head = sync.OnceValues(s.encodeHead)
	if scene.Depth != nil {
		s.depth = newDepthMap(scene.Depth, scene.Range, scene.Session, scene.Seq)
	}
	return s
}

// with is the same scene with its picture.
func (s *shown) with(f *frame) *shown {
	return &shown{scene: s.scene, json: s.json, frame: f, depth: s.depth, head: s.head}
}

// depthMap is a depth map with the frame that it belongs to.
type depthMap struct {
	session string
	seq     uint64
	packed  *depthmap.Map
	stable  *depthmap.Range
	header  func() ([]byte, error) // JSON; encoded at the first call
	smaller sizes[*depthMap]
	drawn   sizes[drawnDepth]
}

// drawnDepth is a depth map as a PNG and how that is read, or why there is none.
type drawnDepth struct {
	png  []byte
	read depthmap.Map
	err  error
}

// drawing makes the map's PNG when there is a turn; turns bounds how many are made at once.
func (d *depthMap) drawing(turns chan struct{}) drawnDepth {
	return d.drawn.at(0, func() drawnDepth {
		turns <- struct{}{}
		defer func() { <-turns }()
		png, read, err := still.Depth(d.packed)
		return drawnDepth{png, read, err}
	})
}

func newDepthMap(packed *depthmap.Map, stable *depthmap.Range, session string, seq uint64) *depthMap {
	d := &depthMap{session: session, seq: seq, packed: packed, stable: stable}
	d.header = sync.OnceValues(d.encodeHeader)
	return d
}

// sized is the map, at most so wide; 0: as it is.
func (d *depthMap) sized(width int, maker *smaller.Maker) *depthMap {
	if width == 0 || d.packed.Width <= width {
		return d
	}
	return d.smaller.at(width, func() *depthMap {
		return newDepthMap(maker.Depth(d.packed, width), d.stable, d.session, d.seq)
	})
}

// slot holds what a viewer has not been sent yet of one source: the newest scene and the newest depth map.
type slot struct {
	source string
	scene  *shown    // nil: nothing to send
	depth  *depthMap // goes with the next scene
	stale  bool      // the scene was there before the viewer watched: not a measure of latency
	next   time.Time // when its next scene may go, for a viewer that wants a few a second
}

// parcel is what is sent at once.
type parcel struct {
	status  bool   // a status is to be sent first, whether it has changed or not
	scene   *shown // nil: none
	depth   *depthMap
	stale   bool
	dropped uint64
	wants   wants
	due     time.Time // when there is something that waits for its time; zero: there is nothing
}

// wants is how a viewer wants scenes.
type wants struct {
	interval time.Duration // between two scenes of a source
	width    int           // of pictures, at most; 0: as they are
	noDepth  bool
	adapt    bool
	part     int // bytes of a message, at most; 0: a scene in one
}

func wantsOf(w api.Watch) wants {
	wants := wants{width: smaller.Width(w.MaxWidth), noDepth: w.Depth != nil && !*w.Depth, adapt: w.Adapt, part: w.PartBytes}
	if w.MaxFPS > 0 {
		wants.interval = time.Duration(float64(time.Second) / w.MaxFPS)
	}
	return wants
}

// viewer is what one websocket has still to send. Offering never blocks: the newer replaces the older.
type viewer struct {
	wake  chan struct{} // holds a token when there may be something to take
	asked []string      // the sources that it wants to watch, under the hub's lock; none: all

	mu      sync.Mutex
	slots   map[string]*slot
	queue   []*slot // those with a scene, the longest waiting first
	status  bool    // is to be told
	held    bool    // no scene goes before the status
	dropped uint64
	wants   wants
	bytes   int64     // that it may be sent a second; 0: no limit
	free    time.Time // what it was sent so far is within that from then on
	who     *access.Caller
}

// newViewer is somebody's, that may be sent so many bytes a second; 0: no limit.
func newViewer(who *access.Caller, bytes int64) *viewer {
	return &viewer{wake: make(chan struct{}, 1), slots: map[string]*slot{}, who: who, bytes: bytes}
}

// spend notes bytes that were sent, and says how long a line that takes as many as the viewer may have needs for them. A viewer that was
// sent little has a second's worth in hand.
func (v *viewer) spend(bytes int, now time.Time) time.Duration {
	if v.bytes == 0 {
		return 0
	}
	took := time.Duration(float64(bytes) / float64(v.bytes) * float64(time.Second))
	v.mu.Lock()
	defer v.mu.Unlock()
	if least := now.Add(-time.Second); v.free.Before(least) {
		v.free = least
	}
	v.free = v.free.Add(took)
	return took
}

// caller is whose viewer it is.
func (v *viewer) caller() *access.Caller {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.who
}

func (v *viewer) become(who *access.Caller) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.who = who
}

// seen are the sources, which are the caller's of seen, without those that the viewer does not see.
func (v *viewer) seen(sources []string) []string {
	who := v.caller()
	if who.SeesAll() {
		return sources
	}
	return slices.DeleteFunc(sources, func(name string) bool { return !who.Sees(name) })
}

// watch makes sources the ones that are watched. What is not sent of others is forgotten; added are new.
func (v *viewer) watch(sources []string) (added, removed []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for source := range v.slots {
		if !slices.Contains(sources, source) {
			removed = append(removed, source)
			delete(v.slots, source)
		}
	}
	v.queue = slices.DeleteFunc(v.queue, func(s *slot) bool { return v.slots[s.source] != s })
	for _, source := range sources {
		if v.slots[source] == nil {
			added = append(added, source)
			v.slots[source] = &slot{source: source}
		}
	}
	return added, removed
}

// watching lists what is watched.
func (v *viewer) watching() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make([]string, 0, len(v.slots))
	for name := range v.slots {
		names = append(names, name)
	}
	return names
}

// offer puts a scene, and the depth map unless nil, into the source's slot. It says whether that dropped a scene.
func (v *viewer) offer(scene *shown, depth *depthMap, stale bool) (dropped bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.slots[scene.scene.Source]
	if s == nil {
		return false
	}
	if s.scene == nil {
		v.queue = append(v.queue, s)
	} else if !s.stale && (v.wants.interval == 0 || !time.Now().Before(s.next)) {
		v.dropped++
		dropped = true
	}
	if s.depth != nil && s.depth.session != scene.scene.Session {
		s.depth = nil
	}
	if depth != nil {
		s.depth = depth
	}
	s.scene, s.stale = scene, stale
	v.signal()
	return dropped
}

// offerDepth puts the depth map of an overtaken scene into its slot, to go with the next scene.
func (v *viewer) offerDepth(source string, depth *depthMap) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.slots[source]; s != nil {
		s.depth = depth
	}
}

// want changes how scenes come.
func (v *viewer) want(wants wants) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wants = wants
}

// hold has scenes wait for the status that is told next.
func (v *viewer) hold() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = true
}

// tellStatus has a status sent.
func (v *viewer) tellStatus() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status, v.held = true, false
	v.signal()
}

func (v *viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default: // it is awake
	}
}

// take empties the slot that waited longest of those whose time has come, and leaves a token in wake when there are more. False is
// returned when there is nothing to send yet.
func (v *viewer) take(now time.Time) (parcel, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := parcel{status: v.status, dropped: v.dropped, wants: v.wants}
	v.status = false
	if v.held {
		return p, p.status
	}
	if now.Before(v.free) {
		if len(v.queue) > 0 {
			p.due = v.free
		}
		return p, p.status
	}
	if i := slices.IndexFunc(v.queue, func(s *slot) bool { return !now.Before(s.next) }); i >= 0 {
		s := v.queue[i]
		v.queue = slices.Delete(v.queue, i, i+1)
		p.scene, p.depth, p.stale = s.scene, s.depth, s.stale
		s.scene, s.depth = nil, nil
		if s.next = s.next.Add(v.wants.interval); s.next.Before(now) {
			s.next = now.Add(v.wants.interval) // it was quiet; else what was late is caught up
		}
		if v.wants.noDepth {
			p.depth = nil
		}
	}
	for _, s := range v.queue {
		if p.due.IsZero() || s.next.Before(p.due) {
			p.due = s.next
		}
	}
	if len(v.queue) > 0 && !now.Before(p.due) {
		v.signal()
	}
	return p, p.status || p.scene != nil
}
