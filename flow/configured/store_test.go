package configured_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

const patience = 3 * time.Minute

// provisioned is a server of its own.
func provisioned(t *testing.T) *bus.Bus { return provisionedBeside(t, "")[0] }

// provisionedBeside is a server with a deployment for each prefix.
func provisionedBeside(t *testing.T, prefixes ...string) (all []*bus.Bus) {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	for _, prefix := range prefixes {
		b, err := bus.Connect(bus.Options{URL: server.URL(), Role: "test", Prefix: prefix, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		if err := b.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// Deployments in one account know nothing of what the other has configured, nor of its producers.
func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	sides := provisionedBeside(t, "", "blue")
	if _, err := configured.Put(t.Context(), sides[1], "yard", camera("h"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := configured.Serve(sides[1], quiet, "all", func(configured.Request) configured.Answer { return configured.Answer{Code: configured.CodeMade} }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []configured.Code{configured.CodeUnavailable, configured.CodeMade} {
		all, err := configured.All(t.Context(), sides[i])
		if err != nil || len(all) != i {
			t.Errorf("side %d has %+v, %v", i, all, err)
		}
		if a := configured.Ask(t.Context(), sides[i], configured.Request{Op: configured.OpPut, Name: "x", Source: camera("h")}, 1); a.Code != want {
			t.Errorf("side %d answers %+v, want %d", i, a, want)
		}
	}
}

func camera(host string) configured.Source { return configured.Source{URI: "rtsp://" + host + "/s"} }

func TestPutAndDelete(t *testing.T) {
	t.Parallel()
	b, now := provisioned(t), time.Unix(1_800_000_000, 0)
	put := func(s configured.Source, at time.Time, wantMade bool) {
		t.Helper()
		made, err := configured.Put(t.Context(), b, "yard", s, at)
		if err != nil || made != wantMade {
			t.Fatalf("put %+v: made %v, %v", s, made, err)
		}
		all, err := configured.All(t.Context(), b)
		if err != nil || all["yard"].URI != s.URI {
			t.Fatalf("%+v, %v", all, err)
		}
	}
	if all, err := configured.All(t.Context(), b); err != nil || len(all) > 0 {
		t.Fatalf("before: %v, %v", all, err)
	}
	put(camera("a"), now, true)
	put(camera("a"), now.Add(time.Hour), false)
	if all, _ := configured.All(t.Context(), b); !all["yard"].Changed.Equal(now) {
		t.Errorf("what is the same has changed: %+v", all)
	}
	yes, no := true, false
	for i, s := range []configured.Source{
		camera("b"), {URI: "rtsp://b/s", Credential: "x"}, {URI: "rtsp://b/s", Settings: configured.Settings{FPS: 3}},
		{URI: "rtsp://b/s", Settings: configured.Settings{Verify: &no}}, {URI: "rtsp://b/s", Settings: configured.Settings{Verify: &yes}},
	} {
		at := now.Add(time.Duration(i+1) * time.Minute)
		put(s, at, false)
		if all, _ := configured.All(t.Context(), b); !all["yard"].Changed.Equal(at) {
			t.Errorf("%+v is not taken for another: %+v", s, all)
		}
	}
	if err := configured.Delete(t.Context(), b, "yard"); err != nil {
		t.Fatal(err)
	}
	if err := configured.Delete(t.Context(), b, "yard"); !errors.Is(err, configured.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	put(camera("a"), now, true)
}

// Many who configure at once: each of them is there in the end, up to the bound, and the one beyond it is refused.
func TestBoundHoldsAtOnce(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	err := configured.Change(t.Context(), b, func(sources map[string]configured.Source) (bool, error) {
		for i := range configured.MostSources - 8 {
			sources[fmt.Sprint("s", i)] = configured.Source{URI: "rtsp://h/" + strings.Repeat("a", configured.MaxURI-9)}
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			made, err := configured.Put(t.Context(), b, fmt.Sprint("x", i), camera("h"), time.Now())
			if errors.Is(err, configured.ErrMost) {
				refused.Add(1)
			} else if err != nil || !made {
				t.Errorf("x%d: made %v, %v", i, made, err)
			}
		})
	}
	all.Wait()
	if there, err := configured.All(t.Context(), b); err != nil || len(there) != configured.MostSources || refused.Load() != 4 {
		t.Errorf("%d are there, %d were refused: %v", len(there), refused.Load(), err)
	}
	if made, err := configured.Put(t.Context(), b, "s0", camera("other"), time.Now()); err != nil || made {
		t.Errorf("one that is there can't be changed: %v", err)
	}
}

// Who watches hears of each change, of a bucket that is made anew, and of a key that is deleted; what it can't read changes nothing.
func TestWatch(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	heard := make(chan map[string]configured.Source, 64)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	watching.Go(func() { configured.Watch(ctx, b, quiet, func(all map[string]configured.Source) { heard <- all }) })
	wait := func(what string, n int) {
		t.Helper()
		for end := time.After(patience); ; {
			select {
			case all := <-heard:
				if len(all) == n {
					return
				}
			case <-end:
				t.Fatalf("never heard: %s", what)
			}
		}
	}
	put := func(name string) {
		t.Helper()
		if _, err := configured.Put(t.Context(), b, name, camera("h"), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	wait("there is none", 0)
	put("a")
	wait("one", 1)
	put("b")
	wait("two", 2)
	kv, err := b.Bucket(t.Context(), bus.SourcesBucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"{", `{"version":2,"sources":{}}`, `{"version":1,"sources":{"x":{"uri":"/etc/passwd"}}}`} {
		if _, err := kv.PutString(t.Context(), "sources", text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := configured.Put(t.Context(), b, "c", camera("h"), time.Now()); err == nil {
		t.Error("what can't be read is overwritten")
	}
	if err := kv.Delete(t.Context(), "sources"); err != nil {
		t.Fatal(err)
	}
	select {
	case all := <-heard:
		if len(all) != 0 {
			t.Errorf("what can't be read was taken for %+v", all)
		}
	case <-time.After(patience):
		t.Fatal("a key that is deleted is not heard of")
	}
	put("a")
	wait("one after the key was deleted", 1)
	if err := b.JetStream().DeleteKeyValue(t.Context(), bus.SourcesBucket); err != nil {
		t.Fatal(err)
	}
	if _, err := configured.Put(t.Context(), b, "a", camera("h"), time.Now()); err == nil {
		t.Error("a bucket that is not there takes a source")
	}
	if err := b.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	put("a")
	put("b")
	wait("two in a bucket that was made anew", 2)
}

// One of each kind of server is asked; a refusal speaks for one kind alone, and everybody's silence is said.
func TestAsk(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	request := configured.Request{Op: configured.OpPut, Name: "yard", Source: camera("h")}
	if a := configured.Ask(t.Context(), b, request, 1); a.Code != configured.CodeUnavailable || !strings.Contains(a.Error, "--allow-source") {
		t.Errorf("nobody: %+v", a)
	}
	var asked [2]atomic.Int64
	serve := func(way string, n int, answer configured.Answer) *nats.Subscription {
		t.Helper()
		sub, err := configured.Serve(b, quiet, way, func(r configured.Request) configured.Answer {
			if r.Name != "yard" || r.Source.URI != "rtsp://h/s" {
				t.Errorf("asked for %+v", r)
			}
			asked[n].Add(1)
			return answer
		})
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	serve("one", 0, configured.Answer{Code: configured.CodeNotAllowed, Error: "no"})
	serve("one", 0, configured.Answer{Code: configured.CodeNotAllowed, Error: "no"})
	if a := configured.Ask(t.Context(), b, request, 1); a.Code != configured.CodeNotAllowed || asked[0].Load() != 1 {
		t.Errorf("refused: %+v, asked %d", a, asked[0].Load())
	}
	for _, code := range []configured.Code{configured.CodeMade, configured.CodeTaken, configured.CodeBad} {
		sub := serve("two", 1, configured.Answer{Code: code, Error: strings.Repeat("é", 3000)})
		if a := configured.Ask(t.Context(), b, request, 2); a.Code != code || len(a.Error) > 2048 {
			t.Errorf("want %d: %d, %d bytes", code, a.Code, len(a.Error))
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	request.Source.URI = "file:///etc/passwd"
	if a := configured.Ask(t.Context(), b, request, 1); a.Code != configured.CodeBad || !strings.Contains(a.Error, "uri") {
		t.Errorf("what can't be meant: %+v", a)
	}
}
