package workers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// A frame that ends the worker which looks at it ends three, and is answered by the fourth.
func TestFrameThatEndsItsWorkers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, 300*time.Millisecond)
	b.publish(t, frameOf(t, 1, 80))
	results, err := b.bus.TakeResults(t.Context(), flow.GroupDetect, flow.ModeLossless, flow.Partition("cam1", flow.DefaultPartitions), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer results.Stop()
	answered := make(chan *flow.Result, 1)
	go func() {
		msg, err := results.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			return
		}
		result := new(flow.Result)
		if err := flow.Decode(msg.Data(), result); err != nil {
			t.Error(err)
		}
		answered <- result
	}()
	for lives := 1; ; lives++ {
		begun, die := make(chan struct{}, 1), make(chan struct{})
		l := b.start(t, &standIn{run: func(_ context.Context, width int) error {
			if width == 80 {
				begun <- struct{}{}
				<-die
			}
			return nil
		}}, nil)
		select {
		case <-begun:
			l.kill()
			close(die)
			if err := l.wait(t); err != nil {
				t.Error(err)
			}
		case r := <-answered:
			if lives != 4 || !strings.HasPrefix(r.Error, "given up") || r.Failure() != (flow.Failure{Class: flow.ClassLost, Cause: flow.CauseKilled}) {
				t.Errorf("worker %d answers with the error %q (%+v), want the fourth to give up", lives, r.Error, r.Failure())
			}
			l.stop(t)
			if a := b.attempts(t, 1); a.Tries != 0 {
				t.Errorf("%+v is noted of an answered frame", a)
			}
			return
		case <-time.After(patience):
			t.Fatalf("worker %d neither begins nor answers", lives)
		}
	}
}
