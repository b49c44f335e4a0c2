package live

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// seeing are callers who see the sources of a pattern each.
func seeing(t *testing.T, patterns ...string) (all []*access.Caller) {
	t.Helper()
	text, made := "tokens:\n", make([]string, len(patterns))
	for i, pattern := range patterns {
		made[i] = access.NewToken()
		sum := access.Sum(made[i])
		text += fmt.Sprintf("- {name: t%d, sha256: %s, sources: [%q], may: [view]}\n", i, hex.EncodeToString(sum[:]), pattern)
	}
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	gate, err := access.New(access.Config{Tokens: file}, slog.New(slog.DiscardHandler), registry, telemetry.NewRefused(registry), func(*http.Request) netip.Addr { return netip.Addr{} })
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range made {
		who, err := gate.Token(t.Context(), token, httptest.NewRequest("GET", "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, who)
	}
	return all
}

// What is known is encoded once for all who see the same, also while others read; and who sees everything reads what it always did.
func TestStatusOfWhatIsSeen(t *testing.T) {
	t.Parallel()
	who := seeing(t, "a*", "a*", "b", "*")
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		h.addScene(scene("a", "s", 1, false), false)
		h.addScene(scene("b", "s", 1, false), false)
		read := func(who *access.Caller) *encoded {
			t.Helper()
			says, err := h.board.read(who)
			if err != nil {
				t.Fatal(err)
			}
			return says.known
		}
		a, b, all := read(who[0]), read(who[2]), read(nil)
		if string(a.json) != `[{"source":"a","state":"running"}]` || string(b.json) != `[{"source":"b","state":"running"}]` || read(who[3]) != all {
			t.Errorf("%s, %s, %s", a.json, b.json, all.json)
		}
		for range 20 {
			time.Sleep(statusFresh)
			read(nil)
		}
		if read(who[1]) != a || read(who[0]) != a || read(nil) != all {
			t.Error("it is encoded again, though it is the same")
		}
		h.addScene(scene("b2", "s", 1, false), false)
		time.Sleep(statusFresh)
		if read(who[0]) != a || read(nil) == all {
			t.Error("a source that is not seen changes something")
		}
		time.Sleep(partKept)
		read(nil)
		time.Sleep(partKept)
		read(nil)
		if n := len(h.board.parts); n != 0 {
			t.Errorf("%d parts are kept that nobody reads", n)
		}
	})
}

// A viewer watches what it sees of what it asks for, whatever its caller becomes.
func TestViewersWatchWhatTheySee(t *testing.T) {
	t.Parallel()
	who := seeing(t, "a*", "b*")
	h := testHub(nil)
	for _, source := range []string{"a", "a2", "b"} {
		h.addScene(scene(source, "s", 1, false), false)
	}
	named, all := newViewer(who[0], 0), newViewer(who[0], 0)
	h.join(named)
	h.join(all)
	h.follow(named, []string{"a", "b"})
	h.follow(all, nil)
	watch := func(v *viewer, want ...string) {
		t.Helper()
		got := v.watching()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("watches %v, want %v", got, want)
		}
	}
	watch(named, "a")
	watch(all, "a", "a2")
	h.addScene(scene("b2", "s", 1, false), false) // a new one, which nobody sees
	watch(all, "a", "a2")
	h.become(named, who[1])
	h.become(all, who[1])
	watch(named, "b")
	watch(all, "b", "b2")
	h.become(named, nil)
	watch(named, "a", "b")
	if _, known, names := h.newest("a", who[1]); known || !slices.Equal(names, []string{"b", "b2"}) {
		t.Errorf("known %v, names %v", known, names)
	}
	only := newViewer(who[1], 0)
	h.join(only)
	h.follow(only, []string{"a"}) // which is not all
	watch(only)
}
