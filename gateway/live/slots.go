package live

import (
	"slices"
	"sync"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// shown is a scene as viewers get it.
type shown struct {
	scene *flow.Scene
	json  api.Scene
	frame *frame    // nil: gone
	depth *depthMap // the scene's own, or nil
}

func newShown(scene *flow.Scene) *shown {
	s := &shown{scene: scene, json: scene.JSON()}
	if scene.Depth != nil {
		s.depth = &depthMap{session: scene.Session, seq: scene.Seq, packed: scene.Depth, stable: scene.Range}
	}
	return s
}

// depthMap is a depth map with the frame that it belongs to.
type depthMap struct {
	session string
	seq     uint64
	packed  *depthmap.Map
	stable  *depthmap.Range
}

// slot holds what a viewer has not been sent yet of one source: the newest scene and the newest depth map.
type slot struct {
	source string
	scene  *shown    // nil: nothing to send
	depth  *depthMap // goes with the next scene
	stale  bool      // the scene was there before the viewer watched: not a measure of latency
}

// parcel is what is sent at once.
type parcel struct {
	status  []byte // nil, or a status message to send first
	scene   *shown // nil: there was only a status
	depth   *depthMap
	stale   bool
	dropped uint64
}

// viewer is what one websocket has still to send. Offering never blocks: the newer replaces the older.
type viewer struct {
	wake chan struct{} // holds a token when there may be something to take

	mu      sync.Mutex
	slots   map[string]*slot
	queue   []*slot // those with a scene, the longest waiting first
	status  []byte
	dropped uint64
}

func newViewer() *viewer {
	return &viewer{wake: make(chan struct{}, 1), slots: map[string]*slot{}}
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
	} else if !s.stale {
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

// offerStatus replaces the status message that is not sent yet.
func (v *viewer) offerStatus(status []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status = status
	v.signal()
}

func (v *viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default: // it is awake
	}
}

// take empties the slot that waited longest, and leaves a token in wake when there are more. False is returned when there
// is nothing to send.
func (v *viewer) take() (parcel, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := parcel{status: v.status, dropped: v.dropped}
	v.status = nil
	if len(v.queue) > 0 {
		s := v.queue[0]
		v.queue = slices.Delete(v.queue, 0, 1)
		p.scene, p.depth, p.stale = s.scene, s.depth, s.stale
		s.scene, s.depth = nil, nil
		if len(v.queue) > 0 {
			v.signal()
		}
	}
	return p, p.status != nil || p.scene != nil
}
