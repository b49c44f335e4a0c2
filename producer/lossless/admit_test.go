package lossless

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus/bustest"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

func testCarrier(t *testing.T, d flow.Deployment, held func() bool) *carrier {
	t.Helper()
	specs, err := source.Parse([]string{"a=/a"}, source.Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	row := account.NewBoard().Add([]flow.SourceStatus{specs[0].Status()}, "run")[0]
	return newCarrier(specs[0], row, Config{StoreTimeout: time.Minute, Window: 2}, Shared{
		Env: service.Env{Log: slog.New(slog.DiscardHandler)}, Deployed: bustest.Deployed(d), Fleet: fleet.New("own"),
		Metrics: account.NewMetrics(prometheus.NewRegistry()), Memory: NewMemory(1 << 20),
	}, held)
}

// While another may have the source's name, as when this process was held still for long, nothing of it is published: neither a
// picture that comes nor a frame that was being stored. (There is no connection here: a try to publish panics.)
func TestNothingIsPublishedWithoutTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := flow.DefaultDeployment()
		l := testCarrier(t, d, func() bool { return false })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, _, ok := l.plannable(ctx); ok {
			t.Error("a frame may be admitted")
		}
		if status, _ := l.row.Snapshot(); status.Reason != "waiting for the lease of its name" {
			t.Errorf("it says %q", status.Reason)
		}
		again, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		if err := l.admit(again, d, l.plan(d), source.Picture{Data: []byte("jpeg"), Captured: time.Now()}, 1); !errors.Is(err, errNotHeld) {
			t.Errorf("admitted all the same: %v", err)
		}
	})
}

// A group that is not required is in the plan while one of its workers is alive and it keeps up; without any group that is on a
// source waits, and says so, until the deployment has one.
func TestPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := flow.DefaultDeployment()
		d.Groups = append(d.Groups, flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional})
		l := testCarrier(t, d, func() bool { return true })
		if plan := l.plan(d); len(plan) != 2 {
			t.Errorf("plan %v without a worker of pose", plan)
		}
		l.fleet.Hear("alive.pose.1", flow.Alive{Stage: "pose"}, time.Now())
		for seq := range uint64(2) {
			if plan := l.plan(d); len(plan) != 3 {
				t.Errorf("plan %v with a worker of pose", plan)
			}
			l.window.expect("pose", testFrame(seq+1, 1))
		}
		if plan := l.plan(d); len(plan) != 2 {
			t.Errorf("plan %v while pose does not keep up", plan)
		}
		l.onDone("pose", flow.Done{Session: "run", Seq: 1})
		if plan := l.plan(d); len(plan) != 3 {
			t.Errorf("plan %v when pose has answered", plan)
		}

		off := flow.DefaultDeployment()
		for i := range off.Groups {
			off.Groups[i].Off = true
		}
		l.deployed.Set(off)
		planned := make(chan bool)
		go func() { _, _, ok := l.plannable(t.Context()); planned <- ok }()
		synctest.Wait()
		if status, _ := l.row.Snapshot(); status.Reason != "waiting for a worker group of lossless frames" {
			t.Errorf("it says %q", status.Reason)
		}
		l.deployed.Set(d)
		if !<-planned {
			t.Error("nothing is planned with a group")
		}
	})
}
