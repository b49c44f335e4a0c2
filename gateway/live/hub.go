package live

import (
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// source is what the hub knows of one source.
type source struct {
	name   string
	mode   flow.Mode
	newest *shown    // nil: no scene yet
	depth  *depthMap // the newest
	frames frameStore

	status   flow.SourceStatus // as its producer said last
	producer string            // instance of that
	told     time.Time         // when that was; zero: never
	moved    time.Time         // when a frame of it was finished last, or none was under way
	heard    time.Time         // of anything about the source
	rate     rate

	perSecond float64 // scenes, over the last seconds
}

// hub pairs scenes with frames and hands them to the viewers of their source. Its methods return at once.
type hub struct {
	cfg     Config
	metrics *metrics
	// refresh, unless nil, is told a source whose newest stored scene may be newer than the hub's. It must not block.
	refresh func(source string)
	// changed, unless nil, is told that viewers watch other sources now. It must not block.
	changed func()
	board   board

	mu         sync.Mutex
	sources    map[string]*source
	producers  map[string]time.Time // when each was heard last, by instance
	viewers    map[*viewer]bool     // true: watches whatever there is
	watchers   map[string]map[*viewer]struct{}
	frameBytes int64
}

func newHub(cfg Config, m *metrics) *hub {
	h := &hub{
		cfg: cfg, metrics: m, refresh: func(string) {}, changed: func() {},
		sources: map[string]*source{}, producers: map[string]time.Time{}, viewers: map[*viewer]bool{}, watchers: map[string]map[*viewer]struct{}{},
	}
	h.board = board{hub: h, parts: map[string]*part{}}
	return h
}

// source finds or makes a source, under h.mu. When there are too many, the unwatched one that is silent longest,
// for more than goneAfter and with no producer that speaks of it, makes room; nil is returned when there is none.
func (h *hub) source(name string) *source {
	if s := h.sources[name]; s != nil {
		return s
	}
	now := time.Now()
	if len(h.sources) >= h.cfg.MaxSources {
		var oldest *source
		for _, s := range h.sources {
			if len(h.watchers[s.name]) == 0 && now.Sub(s.heard) > goneAfter && !h.toldOf(s, now) && (oldest == nil || s.heard.Before(oldest.heard)) {
				oldest = s
			}
		}
		if oldest == nil {
			return nil
		}
		h.frameBytes -= oldest.frames.bytes
		delete(h.sources, oldest.name)
	}
	s := &source{name: name, heard: now}
	h.sources[name] = s
	for v, all := range h.viewers {
		if all {
			h.watchAll(v)
		}
	}
	return s
}

// addFrame keeps a frame, encoded as raw, until its scene comes. When that is shown already, without a picture, it is shown again.
func (h *hub) addFrame(id flow.FrameID, raw []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.source(id.Source)
	if s == nil {
		h.metrics.refuse(doorFrames, reasonFull)
		return
	}
	s.heard = time.Now()
	if s.newest != nil && s.newest.scene.Session == id.Session && id.Seq <= s.newest.scene.Seq {
		if id.Seq == s.newest.scene.Seq && s.newest.frame == nil {
			s.newest = s.newest.with(newFrame(id, raw))
			for v := range h.watchers[s.name] {
				v.offer(s.newest, nil, true)
			}
		}
		return // its scene is there, or overtaken
	}
	limit := min(h.cfg.FrameBytes, s.frames.bytes+h.cfg.TotalFrameBytes-h.frameBytes)
	before := s.frames.bytes
	kept, _ := s.frames.add(newFrame(id, raw), limit)
	h.frameBytes += s.frames.bytes - before
	if !kept {
		h.metrics.drop(reasonFrameRoom)
	}
}

// addScene shows a scene to those who watch its source, unless a later one was there before: then they get its
// depth map with the next scene, if that is newer than theirs. A stale scene is one that was looked up.
func (h *hub) addScene(scene *flow.Scene, stale bool) {
	next := newShown(scene)
	dropped := 0
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.source(scene.Source)
	if s == nil {
		h.metrics.refuse(doorScenes, reasonFull)
		return
	}
	if !stale {
		s.heard = time.Now()
	}
	if !s.isNext(scene) {
		h.addDepth(s, next.depth)
		return
	}
	var freed int64
	next.frame, freed = s.frames.take(scene.ID(), s.session())
	h.frameBytes -= freed
	if s.session() != scene.Session {
		s.depth = nil
	}
	s.newest, s.mode = next, scene.Mode
	if next.depth != nil {
		s.depth = next.depth
	}
	if !stale {
		s.rate.add()
	}
	for v := range h.watchers[s.name] {
		if v.offer(next, next.depth, stale) {
			dropped++
		}
	}
	if dropped > 0 {
		h.metrics.drops.WithLabelValues(reasonSlow).Add(float64(dropped))
	}
}

func (s *source) session() string {
	if s.newest == nil {
		return ""
	}
	return s.newest.scene.Session
}

// isNext says whether the scene is newer than all before: later in the same session, or of a later session.
func (s *source) isNext(scene *flow.Scene) bool {
	switch {
	case s.newest == nil:
		return true
	case s.newest.scene.Session == scene.Session:
		return scene.Seq > s.newest.scene.Seq
	default:
		return scene.Captured > s.newest.scene.Captured
	}
}

// addDepth keeps the depth map of an overtaken scene when it is the newest of its session, under h.mu.
func (h *hub) addDepth(s *source, depth *depthMap) {
	if depth == nil || depth.session != s.session() || s.depth != nil && s.depth.seq >= depth.seq {
		return
	}
	s.depth = depth
	for v := range h.watchers[s.name] {
		v.offerDepth(s.name, depth)
	}
}

// full says whether there are as many viewers as there may be.
func (h *hub) full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.viewers) >= h.cfg.MaxViewers
}

// join adds a viewer. False is returned when there are as many as there may be.
func (h *hub) join(v *viewer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) >= h.cfg.MaxViewers {
		return false
	}
	h.viewers[v] = false
	h.metrics.viewers.Set(float64(len(h.viewers)))
	return true
}

// leave removes a viewer.
func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.viewers, v)
	h.watch(v, nil)
	h.metrics.viewers.Set(float64(len(h.viewers)))
}

// follow makes sources the ones that a viewer watches, or, when there are none, all; none that it does not see. It gets the newest
// scene, with the newest depth map, of each source that it did not watch before.
func (h *hub) follow(v *viewer, sources []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followLocked(v, sources)
}

func (h *hub) followLocked(v *viewer, sources []string) {
	if _, joined := h.viewers[v]; !joined {
		return
	}
	v.asked, h.viewers[v] = sources, len(sources) == 0
	if h.viewers[v] {
		h.watchAll(v)
		return
	}
	h.watch(v, v.seen(slices.Clone(sources)))
}

// become has a viewer be another caller's: it goes on watching what it asked for, as far as that one sees it.
func (h *hub) become(v *viewer, who *access.Caller) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.become(who)
	h.followLocked(v, v.asked)
}

// watchAll makes a viewer watch what it does already and, up to its limit, the other sources that it sees by name, under h.mu.
func (h *hub) watchAll(v *viewer) {
	names := v.seen(v.watching())
	for _, name := range v.seen(h.names()) {
		if len(names) < h.cfg.MaxWatched && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	h.watch(v, names)
}

// names lists the known sources in order, under h.mu.
func (h *hub) names() []string {
	names := make([]string, 0, len(h.sources))
	for name := range h.sources {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// watch is follow for named sources, under h.mu.
func (h *hub) watch(v *viewer, sources []string) {
	added, removed := v.watch(sources)
	for _, name := range removed {
		delete(h.watchers[name], v)
		if len(h.watchers[name]) == 0 {
			delete(h.watchers, name)
		}
	}
	for _, name := range added {
		if h.watchers[name] == nil {
			h.watchers[name] = map[*viewer]struct{}{}
		}
		h.watchers[name][v] = struct{}{}
		if s := h.sources[name]; s != nil && s.newest != nil {
			v.offer(s.newest, s.depth, true)
		}
	}
	if len(added)+len(removed) > 0 {
		h.changed()
	}
}

// watched lists the sources that somebody watches.
func (h *hub) watched() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := make([]string, 0, len(h.watchers))
	for name := range h.watchers {
		names = append(names, name)
	}
	return names
}

// newest is the newest scene of a source: nil when there is none yet. known says whether the source is, and
// names lists those that are; to who asks.
func (h *hub) newest(name string, who *access.Caller) (scene *shown, known bool, names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sources[name]
	if s == nil || !who.Sees(name) {
		return nil, false, slices.DeleteFunc(h.names(), func(name string) bool { return !who.Sees(name) })
	}
	return s.newest, true, nil
}
