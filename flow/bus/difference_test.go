package bus

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow"
)

// A stream takes messages once the server tells of all its consumers: one that it does not tell of, whoever made it, is waited for.
func TestConsumerThatIsNotListed(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(3 * time.Minute) {
		t.Fatal("the server does not start")
	}
	b, err := Connect(Options{InProcess: s, Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	layouts := b.layouts(flow.DefaultDeployment().With(flow.Groups{{Name: "detect", Slot: 1}}))
	want := layouts[slices.IndexFunc(layouts, func(l layout) bool { return l.config.Name == "FRAMES_LIVE" })]
	shut := want.config
	shut.Subjects, shut.RePublish = nil, nil
	if _, err := b.js.CreateStream(t.Context(), shut); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(t.Context(), []step{b.openStream(want, true)}); err != nil {
		t.Fatal(err)
	}
	have, err := b.consumers(t.Context(), shut.Name)
	if err != nil || have["detect"] == nil {
		t.Errorf("it has the consumers %v, %v", have, err)
	}
	stream, err := b.js.Stream(t.Context(), shut.Name)
	if err != nil {
		t.Fatal(err)
	}
	if config := stream.CachedInfo().Config; !slices.Equal(config.Subjects, want.config.Subjects) {
		t.Errorf("the stream is %+v", config)
	}
}
