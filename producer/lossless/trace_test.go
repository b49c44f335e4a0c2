package lossless

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// connected is a carrier over a server of its own with the groups, all of which have a worker.
func connected(t *testing.T, groups ...flow.Group) *carrier {
	t.Helper()
	return connectedTo(t, flow.DefaultDeployment().With(groups))
}

func connectedTo(t *testing.T, d flow.Deployment) *carrier {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Provision(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	l := testCarrier(t, d, func() bool { return true })
	l.bus = b
	t.Cleanup(l.deafen)
	for _, g := range d.Groups {
		l.fleet.Hear("alive."+g.Name+".1", flow.Alive{Stage: g.Name}, time.Now())
	}
	return l
}

// answer has a group answer a frame: ack it, after its result is stored unless that is lost.
func (l *carrier) answer(t *testing.T, group string, lost bool) {
	t.Helper()
	messages, err := l.bus.TakeFrames(t.Context(), group, flow.ModeLossless, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	msg, err := messages.Next()
	if err != nil {
		t.Fatal(err)
	}
	var f flow.Frame
	if err := flow.Decode(msg.Data(), &f); err != nil {
		t.Fatal(err)
	}
	if !lost {
		err = l.bus.PublishResult(t.Context(), &flow.Result{
			Version: f.Version, Group: group, Source: f.Source, Session: f.Session, Seq: f.Seq, Mode: f.Mode, Plan: f.Plan,
			Partition: f.Partition, Copy: f.Copy, Width: f.Width, Height: f.Height,
		})
	}
	if err := errors.Join(err, msg.DoubleAck(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// A frame is lost once one group that its scene waits for has acked it and has no result, whatever the others have done: a shadow
// without a worker keeps it in FRAMES for as long as it likes. One that waits says for whom.
func TestLost(t *testing.T) {
	t.Parallel()
	const pose = "pose"
	detect, depth := flow.Group{Name: "detect", Slot: 1}, flow.Group{Name: "depth", Slot: 2}
	three := []flow.Group{detect, depth, {Name: pose, Slot: 3, Need: flow.NeedShadow}}
	optional := []flow.Group{{Name: "detect", Slot: 1, Need: flow.NeedOptional}, {Name: pose, Slot: 2, Need: flow.NeedOptional}}
	for name, c := range map[string]struct {
		groups   []flow.Group
		answered []string
		lost     []string // acked without a result
		waiting  string   // empty: the frame is lost
	}{
		"nobody has it":                             {three, nil, nil, "detect, depth to answer frame 1"},
		"one has answered":                          {three, []string{"detect"}, nil, "depth to answer frame 1"},
		"only the shadow has not":                   {three, []string{"detect", "depth"}, nil, "a fuser to store the scene of frame 1"},
		"a result is gone beside the shadow":        {three, []string{"depth"}, []string{"detect"}, ""},
		"a result is gone beside a required group":  {three, nil, []string{"detect"}, ""},
		"all have answered":                         {three, []string{"detect", "depth", pose}, nil, "a fuser to store the scene of frame 1"},
		"the shadow's result is gone":               {three, []string{"detect", "depth"}, []string{pose}, "a fuser to store the scene of frame 1"},
		"nobody is required, and one has it":        {optional, []string{"detect"}, nil, "pose to answer frame 1"},
		"nobody is required, and one result is":     {optional, []string{"detect"}, []string{pose}, "a fuser to store the scene of frame 1"},
		"nobody is required, and no result is left": {optional, nil, []string{"detect", pose}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := connected(t, c.groups...)
			d, _ := l.deployed.Now()
			if err := l.admit(t.Context(), d, l.plan(d), source.Picture{Data: []byte("jpeg"), Captured: time.Now()}, 1); err != nil {
				t.Fatal(err)
			}
			for _, group := range c.answered {
				l.answer(t, group, false)
			}
			for _, group := range c.lost {
				l.answer(t, group, true)
			}
			id := flow.FrameID{Source: l.spec.Name, Session: l.session, Seq: 1}
			lost, waiting, err := l.withoutTrace(t.Context(), []flow.FrameID{id})
			if err != nil || waiting != c.waiting || slices.Contains(lost, id) != (c.waiting == "") {
				t.Fatalf("lost %v, or it waits for %q, %v; want %q", lost, waiting, err, c.waiting)
			}
			if len(lost) == 0 {
				return
			}
			if err := l.publishAgain(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if _, waiting, err := l.withoutTrace(t.Context(), lost); err != nil || waiting == "" {
				t.Errorf("the copy is lost as well, %v", err)
			}
		})
	}
}

// A frame is admitted with the plan that let it in, also when the only worker went meanwhile: never with one that is empty.
func TestPlanIsMadeOnce(t *testing.T) {
	t.Parallel()
	l := connected(t, flow.Group{Name: "pose", Slot: 1, Need: flow.NeedOptional})
	d, plan, ok := l.plannable(t.Context())
	if !ok || len(plan) != 1 {
		t.Fatalf("plan %v", plan)
	}
	l.fleet = fleet.New("own") // nobody is alive
	if err := l.admit(t.Context(), d, plan, source.Picture{Data: []byte("jpeg"), Captured: time.Now()}, 1); err != nil {
		t.Fatal(err)
	}
	k := l.window.hold(1)
	if k == nil || !slices.Equal(k.frame.Plan, plan) || k.stored == 0 {
		t.Errorf("it was admitted as %+v", k)
	}
}
