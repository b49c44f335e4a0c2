package standalone

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// A group is added, shadows, and goes again, while a film and a camera run: they go on, and their viewers have pictures.
func TestGroupIsAddedWhileAllRuns(t *testing.T) {
	t.Parallel()
	up := newUp(t, "cam=street:?seed=7&fps=20&size=160x120#mode=live", "film=street:?seed=8&fps=20&size=160x120#mode=lossless")
	up.Mode, up.ExitWhenDone, up.NATSListen = "", false, porttest.Address(t)
	listening := make(chan net.Addr, 1)
	pipe := piped(t, up, func(address net.Addr) { listening <- address })
	pipe.Producer.Drain = patience
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- pipe.Run(ctx, io.Discard, io.Discard, quiet) }()
	v := newSeen(t, next(t, listening))
	b, err := bus.Connect(bus.Options{URL: "nats://" + up.NATSListen, Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	v.pictures(t, "at first")
	pose := flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional}
	for _, step := range []struct {
		name   string
		change func(*flow.Group)
	}{
		{"a group is added", func(*flow.Group) {}},
		{"it becomes a shadow", func(g *flow.Group) { g.Need = flow.NeedShadow }},
		{"it is off", func(g *flow.Group) { g.Off = true }},
		{"it is retired", func(g *flow.Group) { g.Retired = true }},
	} {
		d, _, err := b.Deployment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		step.change(&pose)
		if err := b.Provision(t.Context(), d.With(append(flow.DefaultGroups(), pose))); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		v.pictures(t, step.name)
	}
	stop()
	if err := next(t, ended); err != nil {
		t.Error(err)
	}
}

// seen is what a viewer of all sources sees.
type seen struct{ scenes chan *api.Message }

func newSeen(t *testing.T, address net.Addr) seen {
	t.Helper()
	gateway, err := client.Dial(t.Context(), "http://"+address.String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := seen{make(chan *api.Message)}
	var tasks sync.WaitGroup
	t.Cleanup(tasks.Wait)
	tasks.Go(func() {
		for scene, err := range gateway.Scenes(t.Context()) {
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case v.scenes <- scene:
			case <-t.Context().Done():
			}
		}
	})
	return v
}

// pictures waits until, of each of two sources, 20 scenes have come, most of them with their pictures: a machine that has much
// else to do may lose one.
func (v seen) pictures(t *testing.T, when string) {
	t.Helper()
	const enough = 20
	scenes, pictures := map[string]int{}, map[string]int{}
	for scenes["cam"] < enough || scenes["film"] < enough {
		scene := next(t, v.scenes)
		scenes[scene.Frame.Source]++
		if scene.PictureBytes > 0 {
			pictures[scene.Frame.Source]++
		}
	}
	for source, n := range scenes {
		if 2*pictures[source] < n {
			t.Errorf("%s: %d of %d scenes of %s have a picture", when, pictures[source], n, source)
		}
	}
}

func next[T any](t *testing.T, from chan T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case one := <-from:
		return one
	case <-ctx.Done():
		t.Fatal("nothing comes")
	}
	panic("unreachable")
}
