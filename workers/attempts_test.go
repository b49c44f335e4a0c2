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

// Of the frames that came again only the one that the model is at is noted as tried: those that wait for the model would not be
// what a worker dies of.
func TestFrameThatWaitsIsNotTried(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const frames = 4
	for seq := uint64(1); seq <= frames; seq++ {
		b.publish(t, frameOf(t, seq, poison))
	}
	b.handOn(t, frames)
	begun, end := make(chan struct{}, frames), make(chan struct{})
	l := b.start(t, &fixed{&standIn{run: func(_ context.Context, width int) error {
		if width == poison {
			begun <- struct{}{}
			<-end
		}
		return nil
	}}}, func(cfg *Config) { cfg.Parallel, cfg.Prefetch = 1, frames })
	l.hand.aim(0, frames)
	<-begun
	eventually(t, "the others wait for the model", func() bool { return len(l.ready.lossless) == frames-1 })
	tries := 0
	for seq := uint64(1); seq <= frames; seq++ {
		tries += b.attempts(t, seq).Tries
	}
	if tries != 1 {
		t.Errorf("%d tries are noted, want one", tries)
	}
	l.kill()
	close(end)
	if err := l.wait(t); err != nil {
		t.Error(err)
	}
}

// handOn takes n frames and gives them back, so that they come again.
func (b bench) handOn(t *testing.T, n int) {
	t.Helper()
	messages, err := b.bus.TakeFrames(t.Context(), flow.GroupDetect, flow.ModeLossless, n)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	taken := make([]jetstream.Msg, n)
	for i := range taken {
		if taken[i], err = messages.Next(jetstream.NextMaxWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	for _, msg := range taken {
		if err := msg.Nak(); err != nil {
			t.Fatal(err)
		}
	}
}
