package fuser_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
)

// ends is a log that tells of each pull that ends.
type ends chan struct{}

func (e ends) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("results are not taken any more")) {
		e <- struct{}{}
	}
	return len(line), nil
}

// A group that was retired, and whose streams are gone, comes back: its results are taken again.
func TestGroupComesBackFromRetirement(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	pose := flow.Group{Name: "pose", Task: flow.TaskOther}
	deployment := withGroup(flow.DefaultDeployment(), pose)
	b.provision(t, deployment)
	connection, err := b.server.Connect("fuser", nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(ends, 1024)
	defer runFuser(t, connection, slog.New(slog.NewTextHandler(ended, &slog.HandlerOptions{Level: slog.LevelDebug}))).stop()
	three := []string{flow.GroupDetect, flow.GroupDepth, "pose"}
	publish := func(seq uint64) {
		t.Helper()
		for _, group := range three {
			r := result(group, "cam1", seq)
			r.Plan = three
			if group == "pose" {
				r.Answers = map[string]msgpack.RawMessage{"people": {0x03}}
			}
			b.publish(t, r)
		}
	}
	publish(1)
	b.scenes(t, 1)
	b.drained(t)
	pose.Off, pose.Retired = true, true
	gone := func() bool {
		_, lossless := b.bus.JetStream().Stream(t.Context(), "RESULTS_POSE_LOSSLESS")
		_, live := b.bus.JetStream().Stream(t.Context(), "RESULTS_POSE_LIVE")
		return errors.Is(lossless, jetstream.ErrStreamNotFound) && errors.Is(live, jetstream.ErrStreamNotFound)
	}
	for end := time.Now().Add(patience); !gone(); {
		if time.Now().After(end) {
			t.Fatal("the streams of the retired group stay")
		}
		b.provision(t, withGroup(flow.DefaultDeployment(), pose))
	}
	for range len(flow.Modes) * flow.DefaultPartitions {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the retired group is pulled for ever")
		}
	}
	b.provision(t, deployment)
	partition := fmt.Sprintf("FUSE_%d", flow.Partition("cam1", flow.DefaultPartitions))
	for end := time.Now().Add(patience); ; { // until then the fuser may not know of it, and tells the scene without its answer
		c, err := b.bus.JetStream().Consumer(t.Context(), "RESULTS_POSE_LOSSLESS", partition)
		if err != nil {
			t.Fatal(err)
		}
		if c.CachedInfo().NumWaiting > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the group that is back is not pulled")
		}
	}
	publish(2)
	if s := b.scenes(t, 2)[1]; string(s.Answers["pose"]["people"]) != "\x03" {
		t.Errorf("scene 2 has the answers %v", s.Answers)
	}
	b.drained(t)
}
