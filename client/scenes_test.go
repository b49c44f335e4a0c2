package client_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

// began is when the test's clock begins.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// viewed is a gateway's side of a connection.
type viewed struct {
	t    *testing.T
	conn *websocket.Conn
	asks []byte // the first message
}

func (v viewed) text(data string) {
	if err := v.conn.Write(v.t.Context(), websocket.MessageText, []byte(data)); err != nil {
		v.t.Logf("the client is gone: %v", err)
	}
}

func (v viewed) binary(data []byte) {
	if err := v.conn.Write(v.t.Context(), websocket.MessageBinary, data); err != nil {
		v.t.Logf("the client is gone: %v", err)
	}
}

// scene sends one of cam1, captured so many seconds after the test began, with a map unless mapOf is 0.
func (v viewed) scene(session string, seq uint64, after int, mapOf, dropped uint64) {
	v.send(session, seq, after, mapOf, dropped, 0xff, 0xd8)
}

func (v viewed) send(session string, seq uint64, after int, mapOf, dropped uint64, picture ...byte) {
	header := api.SceneHeader{
		Type: "scene", Dropped: dropped, PictureBytes: len(picture),
		Scene: api.Scene{Frame: api.Frame{Source: "cam1", Session: session, Seq: seq}, Captured: began.Add(time.Duration(after) * time.Second)},
	}
	rest := picture
	if mapOf > 0 {
		header.Depth = &api.DepthHeader{Map: depthmap.Map{Width: 1, Height: 1, Kind: depthmap.Metric, Bits: 8, Scale: 1}, Seq: mapOf, Bytes: 1}
		rest = append(rest, byte(mapOf))
	}
	text, err := json.Marshal(header)
	if err != nil {
		v.t.Error(err)
	}
	v.binary(append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...), rest...))
}

// gone reads until the client leaves.
func (v viewed) gone() { <-v.conn.CloseRead(context.Background()).Done() }

// viewers is a gateway whose n-th connection, from 1, is served by view.
func viewers(t *testing.T, view func(n int, v viewed)) http.Handler {
	var count atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/ws" {
			t.Errorf("asked for %s", r.URL)
		}
		n := int(count.Add(1))
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		_, asks, err := conn.Read(r.Context())
		if err != nil {
			t.Error(err)
		}
		view(n, viewed{t, conn, asks})
	})
}

// told is a scene in short: session, seq, map, dropped.
func told(m *api.Message) string {
	mapOf := uint64(0)
	if m.Depth != nil {
		if mapOf = m.Depth.Seq; len(m.Depth.Data) != 1 || m.Depth.Data[0] != byte(mapOf) {
			return fmt.Sprintf("map %d holds %v", mapOf, m.Depth.Data)
		}
	}
	return fmt.Sprint(m.Frame.Session, m.Frame.Seq, " ", mapOf, " ", m.Dropped)
}

// A connection that is lost is made again: no scene comes twice, no map is lost, and drops add up.
func TestScenesGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := ask(t, viewers(t, func(n int, v viewed) {
			if string(v.asks) != `{"sources":["cam1"]}` {
				t.Errorf("asked for %s", v.asks)
			}
			switch n {
			case 1:
				v.text(`{"type":"status","sources":[]}`)
				v.scene("a", 1, 1, 1, 0)
				v.scene("a", 2, 2, 0, 3)
			case 2:
				v.scene("a", 2, 2, 2, 0) // with the map that was on its way
				v.scene("a", 3, 3, 0, 1)
				_ = v.conn.Close(websocket.StatusServiceRestart, "")
			case 3:
				v.scene("a", 1, 1, 1, 0) // another gateway, that is behind
				v.scene("a", 4, 4, 4, 0)
				v.scene("b", 1, 5, 0, 2)
			case 4:
				v.send("b", 1, 9, 1, 0)  // a run of the same name, from the beginning
				v.scene("b", 1, 9, 0, 0) // its picture came later
				v.scene("b", 1, 9, 0, 0)
				v.scene("b", 2, 10, 0, 0)
				v.gone()
			default:
				t.Errorf("connection %d", n)
			}
		}), client.Options{})
		var got []string
		for m, err := range c.Scenes(t.Context(), "cam1") {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, told(m)); len(got) == 8 {
				break
			}
		}
		if want := []string{"a1 1 0", "a2 0 3", "a3 2 4", "a4 4 4", "b1 0 6", "b1 1 6", "b1 0 6", "b2 0 6"}; !slices.Equal(got, want) {
			t.Errorf("scenes %q, want %q", got, want)
		}
	})
}

// Who can't be reached is asked less and less often, and what sends nonsense too.
func TestWaitsGrow(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(t *testing.T) http.Handler{
		"away": func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		},
		"nonsense": func(t *testing.T) http.Handler {
			return viewers(t, func(_ int, v viewed) { v.binary([]byte("nonsense")); v.gone() })
		},
		"too much": func(t *testing.T) http.Handler {
			return viewers(t, func(_ int, v viewed) { v.binary(make([]byte, 1<<20+1)); v.gone() })
		},
		"silent about itself": func(t *testing.T) http.Handler {
			return viewers(t, func(_ int, v viewed) { _ = v.conn.Close(websocket.StatusGoingAway, "") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := ask(t, handler(t), client.Options{MaxMessage: 1 << 20})
				last, wait, tries := time.Now(), time.Second, 0
				for event, err := range c.Events(t.Context(), api.Watch{}) {
					if err != nil || event.Lost == nil {
						t.Fatalf("%+v, %v", event, err)
					}
					if tries > 0 {
						if waited := time.Since(last); waited < wait/2 || waited > wait+wait/2 {
							t.Errorf("try %d after %v, want about %v", tries, waited, wait)
						}
						wait = min(2*wait, 30*time.Second)
					}
					last = time.Now()
					if tries++; tries == 9 {
						break
					}
				}
			})
		})
	}
}

// A gateway that is full says when it is to be asked again; one that has sent something is asked again soon.
func TestWaitsAreAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := true
		views := viewers(t, func(_ int, v viewed) { v.text(`{"type":"status","sources":[]}`) })
		c := ask(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if full {
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			views.ServeHTTP(w, r)
		}), client.Options{})
		var last time.Time
		lost := 0
		for event, err := range c.Events(t.Context(), api.Watch{}) {
			if err != nil {
				t.Fatal(err)
			}
			if event.Lost == nil {
				continue
			}
			waited := time.Since(last)
			switch lost++; lost {
			case 1:
				full = false
			case 2:
				if waited < 20*time.Second || waited > 30*time.Second {
					t.Errorf("%v after it was full, want about 20 s", waited)
				}
			default:
				if waited > 1500*time.Millisecond {
					t.Errorf("%v after it was heard, want about a second", waited)
				}
			}
			if last = time.Now(); lost == 5 {
				return
			}
		}
	})
}

// What will never be is said once.
func TestScenesRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler func(t *testing.T) http.Handler
		want    string
	}{
		"by code": {func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"error":"no"}`, http.StatusForbidden) })
		}, "answers 403: no"},
		"no gateway": {func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") })
		}, "answers 200"},
		"elsewhere": {func(t *testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/base/") {
					t.Errorf("followed to %s", r.URL)
				}
				http.Redirect(w, r, "http://elsewhere/ws", http.StatusFound)
			})
		}, "answers 302"},
		"by a rule": {func(t *testing.T) http.Handler {
			return viewers(t, func(_ int, v viewed) { _ = v.conn.Close(websocket.StatusPolicyViolation, "too\x1bmany") })
		}, "too many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := ask(t, test.handler(t), client.Options{})
				said := 0
				for m, err := range c.Scenes(t.Context()) {
					if said++; m != nil || err == nil || !strings.Contains(err.Error(), test.want) {
						t.Errorf("%v, %v, want %s", m, err, test.want)
					}
				}
				if said != 1 {
					t.Errorf("said %d times", said)
				}
			})
		})
	}
}

// A connection over which nothing is answered is given up; one that is only silent, or whose reader is busy, is not.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		c := ask(t, viewers(t, func(n int, v viewed) {
			if n > 1 {
				v.scene("a", uint64(200+n), 200+n, 0, 0)
				<-over // reads nothing, so answers nothing
				return
			}
			left := v.conn.CloseRead(context.Background()) // answers
			for _, seq := range []uint64{100, 101, 102} {
				v.scene("a", seq, int(seq), 0, 0)
				// Never when the client asks whether it is alive: a pipe holds no answer for a client that reads nothing.
				select {
				case <-time.After(5*time.Minute + 3*time.Second):
				case <-left.Done():
					t.Error("the client left a connection that was alive")
					return
				}
			}
		}), client.Options{})
		defer close(over)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var heard time.Time
		for event, err := range c.Events(ctx, api.Watch{}) {
			switch {
			case err != nil:
				t.Fatal(err)
			case event.Lost != nil && heard.IsZero(): // the first, that the gateway ends
				if since := time.Since(began); since < 15*time.Minute {
					t.Errorf("lost after %v", since)
				}
			case event.Lost != nil:
				if after := time.Since(heard); after < 10*time.Second || after > 20*time.Second {
					t.Errorf("given up after %v, want 10 to 20 s", after)
				}
				return
			case event.Scene.Frame.Seq == 101:
				time.Sleep(4 * time.Minute)
			case event.Scene.Frame.Seq > 200:
				heard = time.Now()
			}
		}
		t.Error("a connection over which nothing is answered is not given up")
	})
}

// The end of a context ends the scenes, whatever they wait for.
func TestScenesEnd(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(t *testing.T) http.Handler{
		"for a scene": func(t *testing.T) http.Handler { return viewers(t, func(_ int, v viewed) { v.gone() }) },
		"to connect": func(*testing.T) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := ask(t, handler(t), client.Options{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				for m, err := range c.Scenes(ctx) {
					t.Errorf("%v, %v", m, err)
				}
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Errorf("ended before: %v", ctx.Err())
				}
			})
		})
	}
}
