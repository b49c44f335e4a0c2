package overview

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
)

func TestFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, groups := newFleet(), flow.DefaultGroups()
		say := func(stage, instance string, parallel int, rate, wait, busy float64) {
			t.Helper()
			if !f.add(flow.Alive{Stage: stage, Instance: instance, Parallel: parallel, Rate: rate, WaitMS: wait, Busy: busy}) {
				t.Fatalf("no room for %s", instance)
			}
		}
		for range 3 {
			say("gateway", "g", 0, 9, 0, 0)
			say("depth", "d", 1, 5, 8, 1)
			say("detect", "a", 3, 30, 10, .5)
			say("producer", "p", 0, 40, 0, 0)
			time.Sleep(time.Second)
		}
		say("detect", "b", 1, 10, 50, 1) // the others are silent from here on
		states := func() (s string) {
			for _, service := range f.list(groups) {
				s += service.Stage + " " + service.Instance + " " + service.State + "; "
			}
			return s
		}
		if got, want := states(), "producer p alive; detect a alive; detect b alive; depth d alive; gateway g alive; "; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		infos := groupInfos(groups, f.list(groups))
		want := GroupInfo{Group: "detect", Slot: 1, Task: "detect", Need: "required", On: true, Workers: 2, Parallel: 4, Rate: 40, WaitMS: 20, Busy: .625}
		if len(infos) != 2 || infos[0] != want || infos[1].Workers != 1 {
			t.Errorf("groups %+v, want %+v first", infos, want)
		}
		time.Sleep(2 * time.Second) // 3 s since most were heard, 2 s since b was
		if got := states(); strings.Count(got, "gone") != 4 || !strings.Contains(got, "detect b alive") {
			t.Errorf("after 3 s: %s", got)
		}
		if infos := groupInfos(groups, f.list(groups)); infos[0].Workers != 1 || infos[1].Workers != 0 || infos[1].Rate != 0 {
			t.Errorf("groups after 3 s: %+v", infos)
		}
		time.Sleep(time.Minute)
		if got := states(); got != "" {
			t.Errorf("after a minute: %s", got)
		}
	})
}

// What a hostile client of NATS says of itself takes no more room than there is.
func TestFleetIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		for i := range maxServices {
			f.add(flow.Alive{Stage: "detect", Instance: fmt.Sprint(i)})
		}
		if f.add(flow.Alive{Stage: "detect", Instance: "more"}) || !f.add(flow.Alive{Stage: "detect", Instance: "7"}) {
			t.Error("want room for those that are known only")
		}
		time.Sleep(silentAfter + time.Millisecond)
		if !f.add(flow.Alive{Stage: "detect", Instance: "more"}) {
			t.Error("those that are gone make no room")
		}
	})
}

// A film whose frames wait says for what, or the way out.
func TestWaiting(t *testing.T) {
	t.Parallel()
	f := newFleet()
	groups := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional})
	say := func(text string, stages ...string) string {
		f.services = map[string]*heard{}
		for _, stage := range stages {
			f.add(flow.Alive{Stage: stage, Instance: stage})
		}
		services := f.list(groups)
		return waiting([]api.Source{{Source: "film", Session: "s", Waiting: text}}, groupInfos(groups, services), services)[0].Waiting
	}
	all := []string{"detect", "depth", "fuser"}
	for _, step := range []struct {
		waiting string
		stages  []string
		want    string
	}{
		{"", all, ""},
		{"", nil, ""},
		{"32 frames wait", all, "32 frames wait: see what the services say; to give the run up: spatialflow runs forget film s"},
		{"32 frames wait", []string{"detect"}, "32 frames wait: waiting for group depth and a fuser"},
	} {
		if got := say(step.waiting, step.stages...); got != step.want {
			t.Errorf("%+v: %q", step, got)
		}
	}
}

func TestStageTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStageTimes()
		now := time.Now()
		for i := range 100 {
			work := time.Duration(i+1) * time.Millisecond
			s.add(&flow.Scene{
				Captured: now.Add(-time.Second).UnixNano(), Fused: now.Add(-5 * time.Millisecond).UnixNano(),
				Ledger: []flow.Hop{{Stage: "producer", Work: time.Millisecond}, {Stage: "depth", Wait: 3 * work, Work: work}, {Stage: "fuser"}},
			}, now)
		}
		s.tick()
		list := s.list(flow.DefaultGroups())
		names := ""
		for _, info := range list {
			names += info.Stage + ", "
		}
		if names != "producer, depth, fuser, gateway, end to end, " {
			t.Fatalf("stages %s", names)
		}
		depth, last := list[1], historySeconds-1
		if depth.Scenes[last] != 100 || depth.WorkP50[last] != 50 || depth.WorkP95[last] != 95 || depth.WaitP50[last] != 150 || depth.Scenes[last-1] != 0 {
			t.Errorf("depth: %v scenes, work %v and %v, wait %v", depth.Scenes[last], depth.WorkP50[last], depth.WorkP95[last], depth.WaitP50[last])
		}
		if got := list[3].WaitP50[last]; got != 5 {
			t.Errorf("the way to the gateway takes %v ms, want 5", got)
		}
		if got := list[4].WorkP95[last]; got != 1000 {
			t.Errorf("end to end %v ms, want 1000", got)
		}
		for range historySeconds - 1 {
			s.tick()
		}
		if got := s.list(nil)[0].Scenes; got[0] == 0 || got[1] != 0 {
			t.Errorf("a minute later the oldest second has %v scenes", got[0])
		}
		s.tick()
		if list := s.list(nil); len(list) != 0 {
			t.Errorf("%d stages are remembered for longer than a minute", len(list))
		}
		for i := range 2 * maxStages {
			s.note(fmt.Sprint(i), 0, 0)
		}
		if len(s.stages) != maxStages {
			t.Errorf("%d stages, want at most %d", len(s.stages), maxStages)
		}
	})
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values  []float64
		q, want float64
	}{
		{nil, .5, 0}, {[]float64{7}, .95, 7}, {[]float64{3, 1, 2}, .5, 2}, {[]float64{4, 1, 3, 2}, .5, 2}, {[]float64{4, 1, 3, 2}, .95, 4}, {[]float64{1, 2}, 0, 1},
	} {
		if got := quantile(test.values, test.q); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("quantile %v of %v is %v, want %v", test.q, test.values, got, test.want)
		}
	}
}
