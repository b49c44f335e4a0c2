package producer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/producer/owner"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp/rtsptest"
)

func street(fps int) configured.Source {
	return configured.Source{URI: fmt.Sprintf("street:?size=64x64&fps=%d", fps)}
}

// put asks for a source to be configured, of producers that allow the same.
func (b bench) put(t *testing.T, name string, s configured.Source) configured.Answer {
	t.Helper()
	return b.putAmong(t, 1, name, s)
}

// putAmong is put of producers that allow different things.
func (b bench) putAmong(t *testing.T, ways int, name string, s configured.Source) configured.Answer {
	t.Helper()
	return configured.Ask(t.Context(), b.bus, configured.Request{Op: configured.OpPut, Name: name, Source: s}, ways)
}

func (b bench) remove(t *testing.T, name string) configured.Answer {
	t.Helper()
	return configured.Ask(t.Context(), b.bus, configured.Request{Op: configured.OpDelete, Name: name}, 1)
}

func want(t *testing.T, what string, got configured.Answer, code configured.Code, says string) {
	t.Helper()
	if got.Code != code || !strings.Contains(got.Error, says) {
		t.Errorf("%s: %+v, want %d and %q", what, got, code, says)
	}
}

// has says whether a source is on a producer's board.
func (l *life) has(name string) bool {
	for _, s := range l.board.Statuses() {
		if s.Source == name {
			return true
		}
	}
	return false
}

// allowing lets sources be configured.
func allowing(patterns ...string) func(*producer.Config) {
	return func(c *producer.Config) { c.AllowSource = patterns }
}

// A source that is configured gives frames, gives others when it is changed, and is gone when it is deleted. Its credential is a name
// everywhere; one that nobody knows is said, and taken from the file once it is there.
func TestConfiguredCamera(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 160, 96, 30))
	camera.User, camera.Password = "admin", password
	camera.Start()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	alive, asked := b.alive(t), new(said)
	sub, err := b.bus.Conn().Subscribe(">", func(msg *nats.Msg) {
		if !strings.HasPrefix(msg.Subject, "frames.") && !strings.HasPrefix(msg.Subject, "accepted.") {
			_, _ = asked.Write(msg.Data)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# none yet\n")
	l := b.start(t, func(c *producer.Config) {
		c.AllowSource, c.CredentialFile = []string{"rtsp://127.0.0.1/live", "street:*"}, file
	}, "mine=street:?size=64x64&fps=5")
	l.eventually("mine", "its own source has frames", func(s flow.SourceStatus) bool { return s.Account.Complete > 0 })

	door := configured.Source{URI: "rtsp://" + camera.Address() + "/live", Credential: "front-door", Settings: configured.Settings{Decode: "all"}}
	want(t, "made", b.put(t, "door", door), configured.CodeMade, "")
	l.eventually("door", "the credential is not known", func(s flow.SourceStatus) bool {
		return strings.Contains(s.Reason, "credential not known here: put front-door into")
	})
	until(t, "it says so to everybody", func() bool { return strings.Contains(alive.String(), "credential not known here") })
	write("front-door rtsp://10.0.0.7 admin:" + password + "\n")
	l.eventually("door", "the credential is for another", func(s flow.SourceStatus) bool { return strings.Contains(s.Reason, "for rtsp://10.0.0.7 alone") })
	write("front-door rtsp://127.0.0.* admin:" + password + "\n")
	first := l.eventually("door", "it has frames", func(s flow.SourceStatus) bool { return s.Account.Complete > 3 && s.Reason == "" })
	want(t, "the same", b.put(t, "door", door), configured.CodeSame, "")
	door.Settings.MaxSide = 64
	want(t, "changed", b.put(t, "door", door), configured.CodeSame, "")
	l.eventually("door", "it begins anew", func(s flow.SourceStatus) bool { return s.Session != first.Session && s.Account.Complete > 3 })

	for _, name := range []string{"mine", "other"} {
		if name == "other" {
			lease, err := b.bus.Lease(t.Context(), owner.LeaseName("other"), "somebody")
			if err != nil {
				t.Fatal(err)
			}
			keeping, stop := context.WithCancel(t.Context())
			kept := make(chan error, 1)
			go func() { kept <- lease.Keep(keeping) }()
			defer func() { stop(); _ = errors.Join(<-kept, lease.Release(t.Context())) }() // the test is over
		}
		want(t, "a name that is taken: "+name, b.put(t, name, street(5)), configured.CodeTaken, "name: "+name)
	}
	want(t, "not allowed", b.put(t, "x", configured.Source{URI: "rtsp://127.0.0.2/live"}), configured.CodeNotAllowed, "uri: rtsp://127.0.0.2/live is not allowed: --allow-source has rtsp://127.0.0.1/live")
	want(t, "another path", b.put(t, "x", configured.Source{URI: "rtsp://127.0.0.1/other"}), configured.CodeNotAllowed, "uri")
	want(t, "a file", b.put(t, "x", configured.Source{URI: "file://" + file}), configured.CodeBad, "uri")
	want(t, "a setting", b.put(t, "x", configured.Source{URI: "street:", Settings: configured.Settings{Decode: "some"}}), configured.CodeBad, "decode")
	want(t, "a street", b.put(t, "x", configured.Source{URI: "street:?size=9x9"}), configured.CodeBad, "uri")
	want(t, "unknown", b.remove(t, "x"), configured.CodeNotFound, "")
	want(t, "its own", b.remove(t, "mine"), configured.CodeNotFound, "")
	kv, err := b.bus.Bucket(t.Context(), bus.SourcesBucket)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), "sources")
	if err != nil || !strings.Contains(string(entry.Value()), "front-door") {
		t.Fatalf("%s, %v", entry.Value(), err)
	}
	want(t, "deleted", b.remove(t, "door"), configured.CodeSame, "")
	until(t, "it is gone", func() bool { return !l.has("door") })
	want(t, "made again at once", b.put(t, "door", street(10)), configured.CodeMade, "")
	l.eventually("door", "it has frames again", func(s flow.SourceStatus) bool { return s.Account.Complete > 0 && s.URI == "street:?size=64x64&fps=10" })
	status, err := json.Marshal(l.stop())
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"KV": string(entry.Value()), "status": string(status), "alive": alive.String(), "messages": asked.String(), "log": l.log.String(), "children": children(t)} {
		secrets(t, where, text)
	}
	if !strings.Contains(asked.String(), `"op":"put"`) {
		t.Error("the messages were not seen")
	}
}

// Producers that allow the same share what is configured; what one carried another takes over, and all of it is there after all of them were
// away. A producer that allows other things leaves it alone.
func TestConfiguredTakeover(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	other := b.start(t, allowing("rtsp://*"))
	first, second := b.start(t, allowing("street:*")), b.start(t, allowing("street:*"))
	names := []string{"a", "b"}
	until(t, "both are there", func() bool {
		return b.putAmong(t, 2, "a", street(10)).Code < configured.CodeBad
	})
	want(t, "another", b.putAmong(t, 2, "b", street(10)), configured.CodeMade, "")
	carries := func(l *life) (n int) {
		for _, s := range l.board.Statuses() {
			if s.State == flow.StateRunning && s.Reason == "" && s.Account.Complete > 0 {
				n++
			}
		}
		return n
	}
	until(t, "each has one", func() bool { return carries(first) == 1 && carries(second) == 1 })
	first.bus.Close() // it is gone, and its leases end
	until(t, "the second has both", func() bool { return carries(second) == 2 })
	for _, s := range second.stop() {
		if err := s.Account.CheckAtRest(); err != nil || s.State != flow.StateStopped {
			t.Errorf("%+v: %v", s, err)
		}
	}
	third := b.start(t, allowing("street:*"))
	until(t, "the third has both", func() bool { return carries(third) == 2 })
	for _, name := range names {
		want(t, "deleted", configured.Ask(t.Context(), b.bus, configured.Request{Op: configured.OpDelete, Name: name}, 2), configured.CodeSame, "")
	}
	until(t, "they are gone", func() bool { return !third.has("a") && !third.has("b") })
	if other.has("a") || other.has("b") {
		t.Errorf("what it does not allow: %+v", other.board.Statuses())
	}
	third.stop()
	other.stop()
}

// A camera that is configured may not redirect to what is not allowed, and names no variable of the environment.
func TestConfiguredRedirects(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL+"/metadata", http.StatusFound))
	defer outer.Close()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	l := b.start(t, allowing(outer.URL))
	until(t, "it is configured", func() bool {
		return b.put(t, "cam", configured.Source{URI: outer.URL + "/s"}).Code < configured.CodeBad
	})
	l.eventually("cam", "it is refused", func(s flow.SourceStatus) bool {
		return strings.Contains(s.Reason, "redirects to an address that is not allowed")
	})
	if reached.Load() > 0 {
		t.Error("it was asked all the same")
	}
	l.stop()
}

// Settings that do not go together are refused.
func TestConfiguredSettings(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*producer.Config){
		"--allow-source: bad pattern":   func(c *producer.Config) { c.AllowSource = []string{"/etc/*"} },
		"--exit-when-done":              func(c *producer.Config) { c.AllowSource, c.ExitWhenDone = []string{"rtsp://*"}, true },
		"--takeover=never":              func(c *producer.Config) { c.AllowSource, c.Takeover = []string{"rtsp://*"}, "never" },
		"that --allow-source lets":      func(c *producer.Config) { c.CredentialFile = "/dev/null" },
		"--credential-file /dev/null":   func(c *producer.Config) { c.AllowSource, c.CredentialFile = []string{"rtsp://*"}, "/dev/null" },
		"--credential-file: open /none": func(c *producer.Config) { c.AllowSource, c.CredentialFile = []string{"rtsp://*"}, "/none" },
	} {
		var cfg producer.Config
		if err := service.Defaults(&cfg); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
