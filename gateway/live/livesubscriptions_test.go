package live

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

// While a slot is added, frames of producers that know of it and of those that don't yet both come.
func TestLiveSubscriptionsWhileASlotIsAdded(t *testing.T) {
	t.Parallel()
	server, err := natsserver.Start(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	queue := make(chan *nats.Msg, 16)
	live := newLiveSubscriptions(func(subject string) (*nats.Subscription, error) { return b.Conn().ChanSubscribe(subject, queue) })
	defer live.close()
	two, now := flow.DefaultGroups(), time.Now()
	three := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3})
	for i, step := range []struct {
		groups  flow.Groups
		after   time.Duration
		sources []string
		want    []string
	}{
		{two, 0, []string{"a"}, []string{"2a"}},
		{three, 0, []string{"a"}, []string{"2a", "3a"}},
		{three, slotsKept - time.Second, []string{"b"}, []string{"2b", "3b"}},
		{three, time.Second, []string{"a", "b"}, []string{"3a", "3b"}},
		{three, 0, nil, nil},
	} {
		now = now.Add(step.after)
		if err := live.follow(step.groups, step.sources, now); err != nil {
			t.Fatal(err)
		}
		for _, groups := range []flow.Groups{two, three} {
			for _, source := range []string{"a", "b"} {
				subject := "accepted." + groups.FrameSubject(flow.ModeLive, nil, source)[len("frames."):]
				if err := b.Conn().Publish(subject, []byte{'0' + byte(len(groups)), source[0]}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := b.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for len(queue) > 0 {
			got[string((<-queue).Data)] = true
		}
		if len(got) != len(step.want) {
			t.Errorf("step %d: %v came, want %v", i, got, step.want)
		}
		for _, one := range step.want {
			if !got[one] {
				t.Errorf("step %d: %v came, want %v", i, got, step.want)
			}
		}
	}
}
