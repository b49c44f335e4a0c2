package provision_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/provision"
)

const patience = 3 * time.Minute

// serve starts a server, and a connection to it.
func serve(t *testing.T) (*natsserver.Server, *bus.Bus) {
	t.Helper()
	s, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b, err := s.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return s, b
}

// text is what a program prints, from whatever goroutine.
type text struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (w *text) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buffer.Write(data)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buffer.String()
}

// stay runs a command until the test ends.
func stay(t *testing.T, c *provision.Command) *text {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, ended := new(text), make(chan error, 1)
	go func() { ended <- c.Run(ctx, out, out) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if t.Failed() {
			t.Log(out)
		}
	})
	return out
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not so: %s", patience, what)
		}
	}
}

// listing is all streams with their consumers.
func listing(ctx context.Context, b *bus.Bus) (lines []string, err error) {
	list := b.JetStream().ListStreams(ctx)
	for info := range list.Info() {
		s, err := b.JetStream().Stream(ctx, info.Config.Name)
		if err != nil {
			return nil, err
		}
		names := s.ConsumerNames(ctx)
		var consumers []string
		for name := range names.Name() {
			if !strings.HasPrefix(info.Config.Name, "KV_") { // those of watches come and go
				consumers = append(consumers, name)
			}
		}
		slices.Sort(consumers)
		lines = append(lines, fmt.Sprint(info.Config.Name, info.Config.Storage, consumers))
	}
	slices.Sort(lines)
	return lines, list.Err()
}

func get(url string) (code int, body string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	data, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data)
}

func TestWatchMakesAgainWhatIsRemoved(t *testing.T) {
	t.Parallel()
	s, b := serve(t)
	js := b.JetStream()
	var admins []string
	for range 2 { // one of them acts
		c := command(t, s.URL())
		c.Watch, c.Admin, c.LiveStorage, c.Partitions = true, porttest.Address(t), "memory", 4
		stay(t, c)
		admins = append(admins, "http://"+c.Admin)
	}
	for _, admin := range admins {
		eventually(t, admin+" is ready", func() bool { code, _ := get(admin + "/readyz"); return code == http.StatusOK })
	}
	want, err := listing(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	object, _, err := b.Deployment(t.Context())
	if err != nil || len(want) != 13 || object.Limits.LiveStorage != flow.LiveInMemory {
		t.Fatalf("%v, %s, %v", want, object.Encode(), err)
	}
	for _, remove := range []struct {
		what string
		do   func() error
	}{
		{"a live stream", func() error { return js.DeleteStream(t.Context(), "FRAMES_LIVE") }},
		{"a lossless stream", func() error { return js.DeleteStream(t.Context(), "RESULTS_DEPTH_LOSSLESS") }},
		{"a group's consumer", func() error { return js.DeleteConsumer(t.Context(), "FRAMES_LOSSLESS", "depth") }},
		{"a partition's consumer", func() error { return js.DeleteConsumer(t.Context(), "RESULTS_DETECT_LIVE", "FUSE_3") }},
		{"the positions", func() error { return js.DeleteKeyValue(t.Context(), bus.PositionsBucket) }},
		{"the leases", func() error { return js.DeleteKeyValue(t.Context(), bus.OwnersBucket) }},
		{"the attempts", func() error { return js.DeleteKeyValue(t.Context(), bus.AttemptsBucket) }},
		{"the configured sources", func() error { return js.DeleteKeyValue(t.Context(), bus.SourcesBucket) }},
		{"the object's bucket", func() error { return js.DeleteKeyValue(t.Context(), bus.DeploymentBucket) }},
		{"the object", func() error {
			kv, err := js.KeyValue(t.Context(), bus.DeploymentBucket)
			if err != nil {
				return err
			}
			return kv.Purge(t.Context(), "deployment")
		}},
	} {
		if err := remove.do(); err != nil {
			t.Fatalf("remove %s: %v", remove.what, err)
		}
		var have []string
		eventually(t, remove.what+" is there again", func() bool {
			have, err = listing(t.Context(), b)
			again, _, missing := b.Deployment(t.Context())
			return err == nil && slices.Equal(have, want) && missing == nil && string(again.Encode()) == string(object.Encode())
		})
	}
	made := 0
	for _, admin := range admins {
		if _, body := get(admin + "/metrics"); strings.Contains(body, `spatialflow_provision_repaired_total{kind="stream"}`) && !strings.Contains(body, `spatialflow_provision_repaired_total{kind="stream"} 0`) {
			made++
		}
	}
	if made == 0 {
		t.Error("nobody counts what was made again")
	}
}

// Messages of the first version are written until everybody who is alive reads newer ones.
func TestWatchRaisesTheVersionOfMessages(t *testing.T) {
	t.Parallel()
	s, b := serve(t)
	kv, err := b.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bus.PositionsBucket, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "groups", flow.DefaultGroups().Encode()); err != nil {
		t.Fatal(err)
	}
	c := command(t, s.URL())
	c.Watch, c.Admin = true, ""
	stay(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	older := make(chan struct{}) // while it is open, an instance that reads the first version is alive
	go func() {
		for ticker := time.NewTicker(time.Second); ; {
			_ = b.PublishAlive(flow.Alive{Stage: "fuser", Instance: "new", Wire: flow.Wire})
			select {
			case <-older:
			default:
				_ = b.PublishAlive(flow.Alive{Stage: "gateway", Instance: "old"})
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				ticker.Stop()
				return
			}
		}
	}()
	wire := func() int { d, _, _ := b.Deployment(t.Context()); return d.Wire }
	eventually(t, "it is provisioned", func() bool { return wire() == 1 })
	for end := time.Now().Add(13 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got := wire(); got != 1 {
			t.Fatalf("messages of version %d are written, and one that is alive reads 1", got)
		}
	}
	close(older)
	eventually(t, "newer messages are written", func() bool { return wire() == flow.Wire })
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	s, b := serve(t)
	run := func(change func(*provision.Command)) string {
		t.Helper()
		c, out := command(t, s.URL()), new(text)
		change(c)
		if err := c.Run(t.Context(), out, out); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out.String()
	}
	if out := run(func(c *provision.Command) { c.DryRun = true }); !strings.Contains(out, "would change: stream FRAMES_LIVE: made\n") {
		t.Errorf("it prints\n%s", out)
	}
	if have, err := listing(t.Context(), b); err != nil || len(have) != 0 {
		t.Errorf("it made %v, %v", have, err)
	}
	run(func(*provision.Command) {})
	if out := run(func(c *provision.Command) { c.DryRun = true }); out != "would change: nothing\n" {
		t.Errorf("provisioned, it prints\n%s", out)
	}
	if out := run(func(c *provision.Command) { c.Partitions = 4 }); !strings.Contains(out, "partitions: 16 stay, 4 were asked for") {
		t.Errorf("fewer partitions print\n%s", out)
	}
}
