package delivery_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
)

// message counts what is said of it.
type message struct {
	jetstream.Msg
	data              []byte
	sequence          uint64
	acks, naks, keeps int
	delay             time.Duration
}

func (m *message) Data() []byte      { return m.data }
func (m *message) Ack() error        { m.acks++; return nil }
func (m *message) Nak() error        { m.naks++; return nil }
func (m *message) InProgress() error { m.keeps++; return nil }
func (m *message) NakWithDelay(d time.Duration) error {
	m.naks++
	m.delay = d
	return nil
}
func (m *message) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: m.sequence}, NumDelivered: 1}, nil
}

func answer(group string, seq uint64) *flow.Result {
	return &flow.Result{
		Version: flow.Wire, Group: group, Source: "a", Session: "s", Seq: seq, Mode: flow.ModeLossless, Plan: []string{"detect", "depth"},
	}
}

func deliver(m *message) *delivery.Delivery {
	meta, _ := m.Metadata()
	return delivery.New(answer("detect", m.sequence), m, meta)
}

// What is held is kept alive and counted until it ends, and what is left at the end is given back.
func TestHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := delivery.NewHold(100)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { hold.KeepAlive(ctx); close(ended) }()
		messages := []*message{{data: make([]byte, 60), sequence: 1}, {data: make([]byte, 60), sequence: 2}, {data: make([]byte, 60), sequence: 3}}
		var held []*delivery.Delivery
		var open atomic.Int64
		for i, m := range messages {
			if hold.Full() != (i >= 2) {
				t.Errorf("full with %d of 60 bytes: %v", i, hold.Full())
			}
			d := deliver(m)
			if !hold.Add(d) {
				t.Fatal("not held")
			}
			d.HandTo(&open)
			held = append(held, d)
		}
		time.Sleep(3500 * time.Millisecond)
		held[0].Ack()
		held[1].GiveBack(time.Second)
		if hold.Full() || open.Load() != 1 {
			t.Errorf("full %v, %d open, after two of three ended", hold.Full(), open.Load())
		}
		time.Sleep(2 * time.Second)
		cancel()
		<-ended
		hold.GiveBack()
		for i, want := range []message{{acks: 1, keeps: 3}, {naks: 1, keeps: 3, delay: time.Second}, {naks: 1, keeps: 5}} {
			m := messages[i]
			if m.acks != want.acks || m.naks != want.naks || m.keeps != want.keeps || m.delay != want.delay {
				t.Errorf("message %d: %d acks, %d naks after %v, %d times kept, want %+v", i, m.acks, m.naks, m.delay, m.keeps, want)
			}
		}
	})
}

// A result that is delivered again while it is held is the same result: it takes no more room, and the newest delivery is
// the one that is acked.
func TestHoldTakesTheNewestDelivery(t *testing.T) {
	t.Parallel()
	hold := delivery.NewHold(100)
	first, again := &message{data: make([]byte, 60), sequence: 7}, &message{data: make([]byte, 60), sequence: 7}
	d := deliver(first)
	if !hold.Add(d) || hold.Add(deliver(again)) {
		t.Fatal("held twice")
	}
	if hold.Full() {
		t.Error("one result takes the room of two")
	}
	d.Ack()
	if first.acks != 0 || again.acks != 1 {
		t.Errorf("%d acks of the first delivery, %d of the newest", first.acks, again.acks)
	}
	if !hold.Add(deliver(again)) {
		t.Error("it is not held any more, and is refused")
	}
}

// A result that comes again while it is acked is no race, for the detector of which this is.
func TestDeliveredAgainAtItsEnd(t *testing.T) {
	t.Parallel()
	hold := delivery.NewHold(100)
	first := deliver(&message{sequence: 1})
	hold.Add(first)
	again := deliver(&message{sequence: 1})
	added := make(chan struct{})
	go func() {
		hold.Add(again)
		close(added)
	}()
	first.Ack()
	<-added
}
