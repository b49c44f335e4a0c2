package standalone

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/workers"
)

// Groups of one's own come after ours.
func TestGroupsOfOnesOwn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		named []string
		want  string // name, need, off
		fails string
	}{
		{nil, "detect  false; depth  true; ", ""},
		{[]string{"pose", "face=required", "ears=shadow"}, "detect  false; depth  true; pose optional false; face required false; ears shadow false; ", ""},
		{[]string{"detect=required"}, "", "there is a group of this name"},
		{[]string{"pose", "pose=shadow"}, "", "there is a group of this name"},
		{[]string{"pose=perhaps"}, "", `need "perhaps"`},
		{[]string{"Pose"}, "", "lower-case"},
	} {
		up := newUp(t, "x.jpg")
		up.Group, up.NATSListen, up.DepthModel = test.named, "127.0.0.1:0", None
		cfg, err := up.pipeline()
		got := ""
		for _, g := range cfg.Groups {
			got += fmt.Sprintf("%s %s %v; ", g.Name, g.Need, g.Off)
		}
		if test.fails == "" && (got != test.want || err != nil) || test.fails != "" && (!errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), test.fails)) {
			t.Errorf("%v: %s, %v; want %s, %q", test.named, got, err, test.want, test.fails)
		}
	}
	up := newUp(t, "x.jpg")
	up.Group = []string{"pose"}
	if err := up.Validate(); err == nil || !strings.Contains(err.Error(), "--nats-listen") {
		t.Errorf("nobody reaches its workers: %v", err)
	}
}

// NATS is open for this machine alone; whoever is to come from another is known by name.
func TestUpIsNotOpenForOthers(t *testing.T) {
	t.Parallel()
	for listen, fails := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, "localhost:0": false, "0.0.0.0:0": true, ":0": true, "10.1.2.3:4222": true, "nats.example.com:4222": true} {
		up := newUp(t, "x.jpg")
		up.NATSListen = listen
		if err := up.Validate(); fails != (err != nil) || fails && !strings.Contains(err.Error(), "--nats-users") {
			t.Errorf("--nats-listen %s: %v", listen, err)
		}
		up.NATSUsers = "nats-server.conf"
		if err := up.Validate(); err != nil {
			t.Errorf("--nats-listen %s with users: %v", listen, err)
		}
	}
	up := newUp(t, "x.jpg")
	up.NATSUsers = "nats-server.conf"
	if err := up.Validate(); !errors.Is(err, ErrUsage) {
		t.Errorf("users who can't come: %v", err)
	}
}

// Those that come to `up` from outside are let in by what nats-config printed, and its own services are not asked.
func TestUpLetsInWhomItKnows(t *testing.T) {
	t.Parallel()
	d := newClosed(t, "--publisher", "publisher=cam1")
	address := porttest.Address(t)
	d.url = "nats://" + address
	gateway := running(t, func(u *Up) { u.NATSListen, u.NATSUsers = address, d.config })
	publisher := d.connectAs("publisher-a", "publisher")
	again := func() { publish(t, publisher.JetStream(), "cam1", grey(t, 320, 240, 80)) }
	again()
	completeScene(t, gateway, "cam1", again)
	if _, err := bus.Connect(bus.Options{URL: d.url, Role: "publisher"}); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("one without a password: %v", err)
	}
}

// Every flag of the models reaches the workers, those of one group alone too.
func TestModelFlagsReachTheWorkers(t *testing.T) {
	t.Parallel()
	up := newUp(t, "x.jpg")
	up.Provider, up.DepthProvider, up.IoU, up.MaxDet, up.DetectSize, up.DepthBits, up.Threads = "cuda", "cpu", .5, 7, 320, 12, 3
	cfg, err := up.pipeline()
	if err != nil {
		t.Fatal(err)
	}
	for i, provider := range []string{"cuda", "cpu"} {
		inference := up.Inference
		inference.Provider = provider
		if w := cfg.Workers[i]; w.Inference != inference || w.Detection != (workers.Detection{Confidence: .25, IoU: .5, MaxDet: 7, DetectSize: 320}) ||
			w.Depth != (workers.Depth{DepthSize: 56, DepthBits: 12}) {
			t.Errorf("group %s has %+v", w.Group, w)
		}
	}
}
