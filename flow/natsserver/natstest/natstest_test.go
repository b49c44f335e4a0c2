package natstest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

func TestMain(m *testing.M) {
	natstest.Main()
	goleak.VerifyTestMain(m)
}

const stream = "KEPT"

func create(t *testing.T, b *bus.Bus, replicas int) {
	t.Helper()
	config := jetstream.StreamConfig{Name: stream, Subjects: []string{"kept.>"}, Replicas: replicas}
	if _, err := b.JetStream().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
}

// publish stores messages from..to, each until it is acknowledged. An ID keeps one whose answer was lost from being there twice.
func publish(t *testing.T, b *bus.Bus, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		var err error
		for range 600 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, err = b.JetStream().Publish(ctx, fmt.Sprint("kept.", i), nil, jetstream.WithMsgID(fmt.Sprint(i)))
			cancel()
			if err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// stored wants messages 1..n, each once and in order.
func stored(t *testing.T, b *bus.Bus, n uint64) {
	t.Helper()
	var s jetstream.Stream
	var err error
	for range 600 { // the connection comes back by itself, a while after the server
		if s, err = b.JetStream().Stream(t.Context(), stream); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if state := s.CachedInfo().State; state.Msgs != n || state.LastSeq != n {
		t.Fatalf("%d messages are stored, the last is %d; want %d", state.Msgs, state.LastSeq, n)
	}
	for i := uint64(1); i <= n; i++ {
		if msg, err := s.GetMsg(t.Context(), i); err != nil || msg.Subject != fmt.Sprint("kept.", i) {
			t.Fatalf("message %d is %+v, %v", i, msg, err)
		}
	}
}

// A cluster of three goes on without the leader of a stream, and takes it back; it loses nothing when one server loses
// what it has not yet on its disk.
func TestClusterSurvivesItsLeaders(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, natstest.Options{Servers: 3})
	b := c.Connect(t, "test")
	create(t, b, 3)
	publish(t, b, 1, 20)

	leader := c.Leader(t, stream)
	mark := leader.Mark(t)
	publish(t, b, 21, 40)
	leader.LosePower(t, mark)
	if leader.Running() {
		t.Fatalf("%s runs without power", leader.Name())
	}
	publish(t, b, 41, 60)
	if next := c.Leader(t, stream); next == leader {
		t.Fatalf("%s leads, which does not run", next.Name())
	}
	leader.Start(t)
	c.Wait(t)
	stored(t, b, 60)

	c.StepDown(t, stream)
	publish(t, b, 61, 80)
	meta := c.Meta(t)
	meta.Kill()
	if next := c.Meta(t); next == meta {
		t.Fatalf("%s leads the cluster, which does not run", next.Name())
	}
	publish(t, b, 81, 100)
	meta.Start(t)
	c.Wait(t)
	stored(t, b, 100)
}

// A server alone has after a kill all that it had acknowledged, and after a power loss what was there at the mark.
func TestServerLosesWhatWasNotOnDisk(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, natstest.Options{Servers: 1})
	b := c.Connect(t, "test")
	create(t, b, 1)
	publish(t, b, 1, 20)
	if leader := c.Leader(t, stream); leader != c.Servers[0] {
		t.Fatalf("%s leads", leader.Name())
	}
	only := c.Servers[0]
	only.Kill()
	only.Start(t)
	c.Wait(t)
	stored(t, b, 20)

	mark := only.Mark(t)
	publish(t, b, 21, 40)
	stored(t, b, 40)
	only.LosePower(t, mark)
	only.Start(t)
	c.Wait(t)
	stored(t, b, 20)
	publish(t, b, 21, 40)
	stored(t, b, 40)
}

// A server that is held still answers nobody until it goes on, and nothing is gone then.
func TestPause(t *testing.T) {
	t.Parallel()
	c := natstest.Start(t, natstest.Options{Servers: 1, MaxPayload: 1 << 20})
	b := c.Connect(t, "test")
	if got := b.Conn().MaxPayload(); got != 1<<20 {
		t.Errorf("max_payload is %d", got)
	}
	create(t, b, 1)
	publish(t, b, 1, 10)
	c.Servers[0].Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.JetStream().AccountInfo(ctx); err == nil {
		t.Error("a server that is held still has answered")
	}
	c.Servers[0].Resume(t)
	publish(t, b, 11, 20)
	stored(t, b, 20)
}
