package overview

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	historySeconds = 60
	// secondSamples bounds the scenes of a second whose times are looked at; all are counted.
	secondSamples = 256
	maxStages     = flow.MaxGroups + 8
	maxStage      = 256 // bytes of a name of one
	// endToEnd is the row of a frame's whole way: from its capture to the gateway, all of it work.
	endToEnd = "end to end"
)

// stageTimes are the waits and works of every stage over the last minute, from the ledgers of scenes.
type stageTimes struct {
	mu     sync.Mutex
	stages map[string]*stageHistory
	second int // of the history
}

// stageHistory is a ring of the last seconds.
type stageHistory struct {
	scenes      int
	waits, work []float64 // milliseconds, of the running second
	history     [historySeconds]stageSecond
}

type stageSecond struct{ scenes, wait50, wait95, work50, work95 float64 }

func newStageTimes() *stageTimes { return &stageTimes{stages: map[string]*stageHistory{}} }

// add notes a scene's ledger, its way to the gateway, and its age there.
func (s *stageTimes) add(scene *flow.Scene, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hop := range scene.Ledger {
		s.note(hop.Stage, hop.Wait, hop.Work)
	}
	s.note("gateway", max(now.Sub(time.Unix(0, scene.Fused)), 0), 0)
	s.note(endToEnd, 0, max(now.Sub(time.Unix(0, scene.Captured)), 0))
}

// note adds one hop, under s.mu.
func (s *stageTimes) note(stage string, wait, work time.Duration) {
	h := s.stages[stage]
	if h == nil {
		if len(s.stages) >= maxStages || len(stage) > maxStage {
			return
		}
		h = new(stageHistory)
		s.stages[stage] = h
	}
	if h.scenes++; h.scenes > secondSamples {
		return
	}
	h.waits = append(h.waits, milliseconds(wait))
	h.work = append(h.work, milliseconds(work))
}

// tick ends a second. A stage without a scene for the whole history is forgotten.
func (s *stageTimes) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, h := range s.stages {
		now := &h.history[s.second]
		*now = stageSecond{float64(h.scenes), quantile(h.waits, .5), quantile(h.waits, .95), quantile(h.work, .5), quantile(h.work, .95)}
		h.scenes, h.waits, h.work = 0, h.waits[:0], h.work[:0]
		if !slices.ContainsFunc(h.history[:], func(s stageSecond) bool { return s.scenes > 0 }) {
			delete(s.stages, name)
		}
	}
	s.second = (s.second + 1) % historySeconds
}

// list is every stage, in the order in which a frame passes them.
func (s *stageTimes) list(groups flow.Groups) []StageInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]StageInfo, 0, len(s.stages))
	for name, h := range s.stages {
		info := StageInfo{Stage: name}
		for i := range historySeconds {
			second := h.history[(s.second+i)%historySeconds]
			info.Scenes = append(info.Scenes, second.scenes)
			info.WaitP50 = append(info.WaitP50, second.wait50)
			info.WaitP95 = append(info.WaitP95, second.wait95)
			info.WorkP50 = append(info.WorkP50, second.work50)
			info.WorkP95 = append(info.WorkP95, second.work95)
		}
		list = append(list, info)
	}
	order := stageOrder(groups)
	rank := func(stage string) int {
		if stage == endToEnd {
			return math.MaxInt
		}
		return order(stage)
	}
	slices.SortFunc(list, func(a, b StageInfo) int {
		return cmp.Or(cmp.Compare(rank(a.Stage), rank(b.Stage)), cmp.Compare(a.Stage, b.Stage))
	})
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile is the nearest-rank quantile, and sorts its values; 0 without any.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max(int(math.Ceil(q*float64(len(values))))-1, 0)]
}
