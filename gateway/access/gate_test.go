package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// line is an entry of a file.
func line(name, token, rest string) string {
	return fmt.Sprintf("- {name: %s, sha256: %s, %s}\n", name, sumText(token), rest)
}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func reasonOf(err error) string {
	var no Refusal
	if errors.As(err, &no) {
		return no.Reason
	}
	return fmt.Sprint(err)
}

// folder is a file of tokens, and a gate that reads it.
type folder struct {
	t       *testing.T
	file    string
	gate    *Gate
	refused *prometheus.CounterVec
	log     lines
}

// lines are what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newFolder(t *testing.T, text string, anonymous ...string) *folder {
	t.Helper()
	f := &folder{t: t, file: filepath.Join(t.TempDir(), "tokens.yaml"), refused: telemetry.NewRefused(prometheus.NewRegistry())}
	f.write(text)
	var err error
	f.gate, err = New(Config{Tokens: f.file, Anonymous: anonymous}, slog.New(slog.NewTextHandler(&f.log, nil)), prometheus.NewRegistry(), f.refused, remote)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *folder) write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.file, []byte("tokens:\n"+text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func ended(c *Caller) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

func TestWhoAsks(t *testing.T) {
	t.Parallel()
	right, expired := NewToken(), NewToken()
	text := line("wall", right, `sources: ["cam*"], may: [view]`) + line("old", expired, "sources: [cam1], may: [view], expires: 2020-01-01")
	for name, test := range map[string]struct {
		header, reason string
		anonymous      []string
		who            string
	}{
		"a token":                          {header: "Bearer " + right, who: "wall"},
		"scheme in other letters":          {header: "bEARER  " + right, who: "wall"},
		"none":                             {reason: ReasonMissing},
		"behind a tab":                     {header: "Bearer\t" + right, who: "wall"},
		"another scheme":                   {header: "Basic " + right, reason: ReasonMissing},
		"none, where none will do":         {who: "anonymous", anonymous: []string{"view"}},
		"another one":                      {header: "Bearer " + NewToken(), reason: ReasonWrong},
		"another one, where none would do": {header: "Bearer " + NewToken(), reason: ReasonWrong, anonymous: []string{"view"}},
		"empty, where none would do":       {header: "Bearer", reason: "", who: "anonymous", anonymous: []string{"view"}},
		"too long":                         {header: "Bearer " + right + "a", reason: ReasonWrong},
		"two":                              {header: "Bearer " + right + " " + right, reason: ReasonWrong},
		"expired":                          {header: "Bearer " + expired, reason: ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t, text, test.anonymous...)
			r := request("")
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			who, err := f.gate.Caller(r)
			if test.reason != "" && reasonOf(err) != test.reason || test.reason == "" && (err != nil || who.Name() != test.who) {
				t.Errorf("%v, %v", who, err)
			}
			if n := testutil.ToFloat64(f.refused.WithLabelValues(doorAccess, test.reason)); test.reason != "" && n != 1 {
				t.Errorf("counted %v", n)
			}
		})
	}
}

func TestSees(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{"cam1": "cam1", "cam*": "cam1 cam2 cam10 cam", "*": "cam1 cam2 cam10 cam yard", "*1": "cam1", "c*1*": "cam1 cam10"} {
		c := newCaller(entry{sources: []string{pattern}})
		for _, source := range []string{"cam1", "cam2", "cam10", "cam", "yard"} {
			if got := c.Sees(source); got != strings.Contains(" "+want+" ", " "+source+" ") {
				t.Errorf("%s sees %s: %v", pattern, source, got)
			}
		}
		if c.SeesAll() != (pattern == "*") || c.SeesAll() != (c.Scope() == "") {
			t.Errorf("%s sees all: %v, scope %q", pattern, c.SeesAll(), c.Scope())
		}
	}
	if who := From(t.Context()); who.May(View) || who.Sees("cam1") || who.SeesAll() {
		t.Error("who is not known may view")
	}
	var everybody *Caller
	if !everybody.May(Manage) || !everybody.Sees("cam1") || From(With(t.Context(), nil)) != nil {
		t.Error("an open gate is not open")
	}
}

// Callers go on while the file says of them what it said, and end when it says something else, or time is up.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	stays, changes, goes := NewToken(), NewToken(), NewToken()
	const cam1 = "sources: [cam1], may: [view]"
	f := newFolder(t, line("stays", stays, cam1+", rate: 1")+line("changes", changes, cam1)+line("goes", goes, cam1))
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.gate.Run(ctx) })
		defer running.Wait()
		defer stop()
		who := map[string]*Caller{}
		for _, token := range []string{stays, changes, goes} {
			c, err := f.gate.Caller(request(token))
			if err != nil {
				t.Fatal(err)
			}
			who[c.Name()] = c
		}
		for _, wrong := range []string{"- {}", "]"} { // is told once, and changes nothing
			f.write(wrong)
			time.Sleep(10 * time.Second)
		}
		if err := os.Remove(f.file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for name, c := range who {
			if ended(c) {
				t.Errorf("%s ended", name)
			}
		}
		if n, told := testutil.ToFloat64(f.refused.WithLabelValues(doorTokens, "malformed")), strings.Count(f.log.String(), "stay as they were"); n != 3 || told != 3 {
			t.Errorf("three wrong files are counted %v times, told %d times: %s", n, told, f.log.String())
		}
		more := NewToken()
		soon := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
		f.write(line("more", more, cam1) + line("changes", changes, "sources: [cam2], may: [view], expires: "+soon) + line("stays", stays, cam1+", rate: 1"))
		time.Sleep(time.Second) // two looks
		if ended(who["stays"]) || !ended(who["changes"]) || !ended(who["goes"]) {
			t.Error("others ended than were changed")
		}
		if _, err := f.gate.Again(who["goes"]); reasonOf(err) != ReasonWrong {
			t.Errorf("withdrawn: %v", err)
		}
		if _, err := f.gate.Caller(request(goes)); reasonOf(err) != ReasonWrong {
			t.Errorf("withdrawn: %v", err)
		}
		now, err := f.gate.Again(who["changes"])
		if err != nil || now.Sees("cam1") || !now.Sees("cam2") || ended(now) {
			t.Fatalf("changed: %+v, %v", now, err)
		}
		if _, err := f.gate.Caller(request(more)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if _, err := f.gate.Again(now); !ended(now) || reasonOf(err) != ReasonExpired {
			t.Errorf("expired: %v", err)
		}
	})
}

// A Secret is a folder behind two links, of which one is replaced.
func TestSecretIsSwapped(t *testing.T) {
	t.Parallel()
	first, second := NewToken(), NewToken()
	dir := t.TempDir()
	for name, token := range map[string]string{"..1": first, "..2": second} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "tokens.yaml"), []byte("tokens:\n"+line("wall", token, "sources: [cam1], may: [view]")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, from string) {
		t.Helper()
		temporary := filepath.Join(dir, "..tmp")
		if err := os.Symlink(to, temporary); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/tokens.yaml", "tokens.yaml")
	gate, err := New(Config{Tokens: filepath.Join(dir, "tokens.yaml")}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), telemetry.NewRefused(prometheus.NewRegistry()), remote)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { gate.Run(ctx) })
		defer running.Wait()
		defer stop()
		c, err := gate.Caller(request(first))
		if err != nil {
			t.Fatal(err)
		}
		link("..2", "..data")
		time.Sleep(time.Second)
		if _, err := gate.Caller(request(second)); err != nil || !ended(c) {
			t.Errorf("not taken: %v", err)
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	c := newCaller(entry{name: "wall", rate: 2})
	now := time.Now()
	for i, wait := range []time.Duration{0, 0, time.Second / 2} {
		err := c.take(now)
		var no Refusal
		if errors.As(err, &no); (err == nil) != (wait == 0) || no.After != wait {
			t.Errorf("request %d: %v, %v", i, err, no.After)
		}
	}
	if err := c.take(now.Add(time.Second / 2)); err != nil {
		t.Error(err)
	}
}

// Who sends many wrong tokens waits, as many as may; a right one from the same address never does. What is remembered is bounded.
func TestWrongTokensAreSlow(t *testing.T) {
	t.Parallel()
	right := NewToken()
	f := newFolder(t, line("wall", right, "sources: [cam1], may: [view]"))
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ask := func(token string) (string, time.Duration) {
			began := time.Now()
			_, err := f.gate.Caller(request(token))
			return reasonOf(err), time.Since(began)
		}
		for range freely {
			if reason, took := ask("sf_wrong"); reason != ReasonWrong || took != 0 {
				t.Fatalf("%s after %v", reason, took)
			}
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		const wrong = mostSlow + 40
		for range wrong {
			all.Go(func() {
				reason, took := ask("sf_wrong")
				mu.Lock()
				defer mu.Unlock()
				got[fmt.Sprint(reason, " ", took)]++
			})
		}
		synctest.Wait() // all have come
		if reason, took := ask(right); reason != "<nil>" || took != 0 {
			t.Errorf("a right one: %s after %v", reason, took)
		}
		all.Wait()
		if got["token_wrong 1s"] != mostSlow || got["rate 0s"] != wrong-mostSlow {
			t.Errorf("%v", got)
		}
		if time.Since(began) != slowFor || strings.Count(f.log.String(), "wrong tokens") != 1 || strings.Contains(f.log.String(), "sf_") {
			t.Errorf("after %v: %s", time.Since(began), f.log.String())
		}
		if f.gate.failures.slowed != 0 {
			t.Errorf("%d wait", f.gate.failures.slowed)
		}
		time.Sleep(freely * freelyPer)
		if reason, took := ask("sf_wrong"); reason != ReasonWrong || took != 0 {
			t.Errorf("after a while: %s after %v", reason, took)
		}
	})
	for i := range 2 * mostFailed {
		f.gate.failures.add(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), time.Now())
	}
	if n := f.gate.failures.count(); n != mostFailed || len(f.gate.failures.at) != mostFailed {
		t.Errorf("%d addresses are remembered", n)
	}
	for one, other := range map[string]string{"2001:db8::1": "2001:db8::2:3", "10.0.0.1": "::ffff:10.0.0.1"} {
		a, _, _, _ := f.gate.failures.add(netip.MustParseAddr(one), time.Now())
		if b, _, _, _ := f.gate.failures.add(netip.MustParseAddr(other), time.Now()); a != b {
			t.Errorf("%s and %s count as two", one, other)
		}
	}
}

// Those whose callers are not known yet make room for each other, and for who is known.
func TestLobby(t *testing.T) {
	t.Parallel()
	var lobby Lobby
	one, many := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	only, endOnly := context.WithCancelCause(t.Context())
	first, endFirst := context.WithCancelCause(t.Context())
	second, endSecond := context.WithCancelCause(t.Context())
	third, endThird := context.WithCancelCause(t.Context())
	leaveOnly := lobby.Enter(one, endOnly)
	lobby.Enter(many, endFirst)
	leave := lobby.Enter(many, endSecond)
	lobby.Enter(many, endThird)
	leave()
	for range mostWaiting - 2 {
		lobby.Enter(many, func(error) {})
	}
	if !errors.Is(context.Cause(first), ErrCrowded) || second.Err() != nil || third.Err() != nil {
		t.Errorf("%v, %v, %v", context.Cause(first), second.Err(), third.Err())
	}
	leave() // again, after it is gone
	for range 2 * mostWaiting {
		lobby.Enter(many, func(error) {})
	}
	if only.Err() != nil || third.Err() == nil {
		t.Errorf("the only one of its address makes room for many of another: %v", context.Cause(only))
	}
	leaveOnly()
	if n := lobby.order.Len(); n != mostWaiting-1 || len(lobby.from) != 1 || lobby.from[telemetry.Client(many)] != n {
		t.Errorf("%d wait, from %v", n, lobby.from)
	}
	for i := range 2 * mostWaiting { // of many addresses the one that is there longest
		lobby.Enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), func(error) {})
	}
	if n := lobby.order.Len(); n != mostWaiting || len(lobby.from) != mostWaiting {
		t.Errorf("%d wait, from %d", n, len(lobby.from))
	}
}

// Off a loopback address somebody has to have said who may ask.
func TestConfig(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config Config
		listen string
		want   string // of the error; none: empty
	}{
		"open on loopback":             {Config{}, "127.0.0.1:8000", ""},
		"open on localhost":            {Config{}, "localhost:0", ""},
		"open on IPv6":                 {Config{}, "[::1]:8000", ""},
		"open everywhere":              {Config{}, ":8000", "--tokens"},
		"open elsewhere":               {Config{}, "10.0.0.1:8000", "--anonymous"},
		"tokens":                       {Config{Tokens: "f"}, ":8000", ""},
		"anonymous":                    {Config{Anonymous: []string{"view", "predict", "status"}}, ":8000", ""},
		"no right":                     {Config{Anonymous: []string{"veiw"}}, "127.0.0.1:8000", `"veiw"`},
		"anonymous manages":            {Config{Anonymous: []string{"manage"}}, "127.0.0.1:8000", ""},
		"anonymous manages for others": {Config{Tokens: "f", Anonymous: []string{"manage"}}, ":8000", "can't have manage"},
	} {
		if err := test.config.Validate(test.listen); test.want == "" && err != nil || test.want != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Config{Tokens: NewToken()}).Validate(":8000"); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), tokenPrefix) {
		t.Errorf("a token in the place of its file: %v", err)
	}
	if _, err := New(Config{Tokens: t.TempDir()}, nil, prometheus.NewRegistry(), nil, remote); !errors.Is(err, ErrFile) {
		t.Errorf("a folder: %v", err)
	}
}

// Of several headers, none of which may be the one that a proxy looked at, none counts, and they are not none either.
func TestSeveralHeaders(t *testing.T) {
	t.Parallel()
	right := NewToken()
	f := newFolder(t, line("wall", right, "sources: [cam1], may: [view]"), "view")
	empty := request("")
	empty.Header["Authorization"] = []string{"Bearer "}
	if token, given := Bearer(empty); given { // on the websocket its first message may have one
		t.Errorf("an empty one is %q", token)
	}
	for _, headers := range [][]string{{"Bearer " + right, "Basic x"}, {"Basic x", "Bearer " + right}, {"Bearer " + right, "Bearer " + right}, {"", "Bearer " + right}} {
		r := request("")
		r.Header["Authorization"] = headers
		if who, err := f.gate.Caller(r); reasonOf(err) != ReasonWrong {
			t.Errorf("%d headers: %v, %v", len(headers), who.Name(), err)
		}
	}
}

// Who follows a source does so as long as its token sees it. That it sees another one now is no matter of the token.
func TestHold(t *testing.T) {
	t.Parallel()
	token := NewToken()
	for name, test := range map[string]struct{ now, reason string }{
		"sees another one": {line("wall", token, "sources: [cam2], may: [view]"), ReasonHidden},
		"may not view":     {line("wall", token, "sources: [cam1], may: [status]"), ReasonMayNot},
		"withdrawn":        {line("other", NewToken(), "sources: [cam1], may: [view]"), ReasonWrong},
	} {
		f := newFolder(t, line("wall", token, "sources: [cam1], may: [view]"))
		who, err := f.gate.Caller(request(token))
		if err != nil {
			t.Fatal(err)
		}
		held, release := f.gate.Hold(t.Context(), who, "cam1")
		data := []byte("tokens:\n" + test.now)
		entries, err := parse(f.file, data)
		if err != nil {
			t.Fatal(err)
		}
		f.gate.take(data, entries, time.Now())
		<-held.Done()
		if reason := reasonOf(Denied(held)); reason != test.reason {
			t.Errorf("%s: %s, want %s", name, reason, test.reason)
		}
		release()
	}
}

// remote is the address of the connection.
func remote(r *http.Request) netip.Addr {
	address, _ := netip.ParseAddrPort(r.RemoteAddr) // net/http's
	return address.Addr()
}
