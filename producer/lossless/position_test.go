package lossless

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// The record of a run that stands still is renewed for as long as it is carried, with the position that the fuser wrote last; one
// that was forgotten is not made again.
func TestRecordIsKept(t *testing.T) {
	t.Parallel()
	d := flow.DefaultDeployment()
	d.Limits.ScenesKeep, d.Limits.PositionsKeep = time.Second, time.Second
	l := connectedTo(t, d)
	begin, err := l.openPosition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.partition = begin.Partition
	kv, err := l.bus.JetStream().KeyValue(t.Context(), bus.PositionsBucket)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := kv.Watch(t.Context(), flow.PositionKey(l.spec.Name, l.session), jetstream.UpdatesOnly())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.keepRecord(ctx) }()
	renewed := func(want uint64) {
		t.Helper()
		select {
		case entry := <-watch.Updates():
			position, err := flow.ParsePosition(l.spec.Name, entry.Value())
			if err != nil || position.Seq < want || position.Partition != l.partition {
				t.Errorf("the record is %+v, %v, want %d", position, err, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the record is not renewed")
		}
	}
	for range 5 { // which is longer than it is kept
		renewed(0)
	}
	if err := l.bus.SetPosition(t.Context(), l.spec.Name, l.session, flow.Position{Seq: 7, Partition: l.partition}); err != nil {
		t.Fatal(err)
	}
	for entry := range watch.Updates() {
		if position, err := flow.ParsePosition(l.spec.Name, entry.Value()); err != nil || position.Seq == 7 {
			break
		}
	}
	renewed(7)
	renewed(7)
	if err := l.bus.Forget(t.Context(), l.spec.Name, l.session); err != nil {
		t.Fatal(err)
	}
	if err := l.bus.KeepPosition(t.Context(), l.spec.Name, l.session); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("kept when it was forgotten: %v", err)
	}
	cancel()
	<-ended
	if err := watch.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := kv.Get(t.Context(), flow.PositionKey(l.spec.Name, l.session)); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("a record that was forgotten is there again: %v", err)
	}
}
