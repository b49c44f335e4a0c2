package live

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

// Of the sources that are watched, and of no others, frames come in both modes, of producers that know fewer slots and, for a
// while, of those that know more.
func TestFrameSubscriptionsWhileASlotIsAdded(t *testing.T) {
	t.Parallel()
	server, err := natsserver.Start(t.TempDir(), "", "", slog.New(slog.DiscardHandler))
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
	frames := newFrameSubscriptions(func(subject string) (*nats.Subscription, error) { return b.Conn().ChanSubscribe(subject, queue) }, flow.ModeLive, flow.ModeLossless)
	defer frames.close()
	two, now := flow.DefaultGroups(), time.Now()
	three := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3})
	for i, step := range []struct {
		groups  flow.Groups
		after   time.Duration
		sources []string
		added   []string
		want    string
	}{
		{two, 0, []string{"a"}, []string{"a"}, "live 2a, lossless 2a, "},
		{three, 0, []string{"a"}, []string{"a"}, "live 2a, live 3a, lossless 2a, lossless 3a, "},
		{two, 0, []string{"a"}, nil, "live 2a, live 3a, lossless 2a, lossless 3a, "},
		{two, slotsKept - time.Second, []string{"b"}, []string{"b"}, "live 2b, live 3b, lossless 2b, lossless 3b, "},
		{two, time.Second, []string{"a", "b"}, []string{"a"}, "live 2a, live 2b, lossless 2a, lossless 2b, "},
		{three, 0, nil, nil, ""},
	} {
		now = now.Add(step.after)
		added, err := frames.follow(step.groups, step.sources, now)
		if err != nil || !slices.Equal(added, step.added) {
			t.Fatalf("step %d: added %v, %v; want %v", i, added, err, step.added)
		}
		for _, mode := range []flow.Mode{flow.ModeLive, flow.ModeLossless} {
			for _, groups := range []flow.Groups{two, three} {
				for _, source := range []string{"a", "b"} {
					subject := "accepted." + groups.FrameSubject(mode, nil, source)[len("frames."):]
					if err := b.Conn().Publish(subject, fmt.Appendf(nil, "%s %d%s", mode, len(groups), source)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := b.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for len(queue) > 0 {
			got = append(got, string((<-queue).Data)+", ")
		}
		slices.Sort(got)
		if got := strings.Join(got, ""); got != step.want {
			t.Errorf("step %d: came %s want %s", i, got, step.want)
		}
	}
}
