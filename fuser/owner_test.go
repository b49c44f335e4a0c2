package fuser_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// owners counts the partitions of each fuser.
func (b bench) owners(t *testing.T) map[string]int {
	t.Helper()
	kv, err := b.bus.JetStream().KeyValue(t.Context(), bus.OwnersBucket)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for p := range flow.DefaultPartitions {
		if entry, err := kv.Get(t.Context(), fmt.Sprintf("partition.%d", p)); err == nil {
			count[string(entry.Value())]++
		}
	}
	return count
}

func (b bench) wantOwners(t *testing.T, fusers, each int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		owners := b.owners(t)
		ok := len(owners) == fusers
		for _, n := range owners {
			ok = ok && n == each
		}
		if ok {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("partitions by owner: %v, want %d for each of %d", owners, each, fusers)
		}
	}
}

// Fusers share the partitions, and take over those of one that is killed or stopped: every frame has its one scene.
func TestFusersShareAndTakeOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var sources []string // one of each partition
	for i := 0; len(sources) < flow.DefaultPartitions; i++ {
		if name := fmt.Sprint("cam", i); flow.Partition(name, flow.DefaultPartitions) == len(sources) {
			sources = append(sources, name)
		}
	}
	seq := uint64(0)
	publish := func(frames int) {
		t.Helper()
		for range frames {
			seq++
			for _, source := range sources {
				for _, group := range plan {
					b.publish(t, result(group, source, seq))
				}
			}
		}
	}
	first := b.startFuser(t)
	b.wantOwners(t, 1, 16)
	publish(5)
	second := b.startFuser(t)
	publish(5)
	b.wantOwners(t, 2, 8)
	publish(5)
	first.kill()
	publish(5)
	b.wantOwners(t, 1, 16)
	third := b.startFuser(t)
	b.wantOwners(t, 2, 8)
	publish(5)
	second.stop()
	publish(5)
	b.scenes(t, int(seq)*len(sources))
	b.drained(t)
	third.stop()
}
