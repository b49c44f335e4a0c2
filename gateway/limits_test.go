package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/gateway"
	limits "github.com/spatial-flow/spatial-flow/gateway/callers"
)

// Callers behind a proxy have their limits each for themselves; who has had enough is told when to come again, at every door alike.
func TestLimitsPerClient(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) {
		c.Callers = limits.Config{TrustedProxies: []string{"127.0.0.0/8"}, Connections: 2}
	})
	dial := func(client string) (*websocket.Conn, *http.Response) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, answer, err := websocket.Dial(ctx, "ws://"+r.address+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {client}}})
		if err == nil {
			t.Cleanup(func() { conn.CloseNow() })
		}
		return conn, answer
	}
	one, _ := dial("198.51.100.1")
	two, _ := dial("198.51.100.1")
	if one == nil || two == nil {
		t.Fatal("no viewer is let in")
	}
	if _, answer := dial("198.51.100.1"); answer == nil || answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "5" {
		t.Errorf("a third viewer of one client: %v", answer)
	}
	for client, want := range map[string]int{"198.51.100.1": 429, "203.0.113.1, 198.51.100.1": 429, "198.51.100.2": 200} {
		code, header, body := r.get("/api/v1/sources", "X-Forwarded-For", client)
		if code != want || code == 429 && (header.Get("Retry-After") != "5" || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, limits.ReasonConnections)) {
			t.Errorf("%s: %d %v %s", client, code, header, body)
		}
	}
	if err := one.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	r.eventually("room after a viewer has left", func() bool {
		code, _, _ := r.get("/api/v1/sources", "X-Forwarded-For", "198.51.100.1")
		return code == 200
	})
	if refused := r.metric("spatialflow_refused_total", "door", "http", "reason", limits.ReasonConnections); refused < 3 {
		t.Errorf("%v are counted", refused)
	}
}

func TestRequestsPerClient(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) {
		c.Callers = limits.Config{TrustedProxies: []string{"127.0.0.0/8"}, Requests: 0.02}
	})
	for client := range 3 {
		from := fmt.Sprintf("for=198.51.100.%d", client)
		if code, _, _ := r.get("/", "Forwarded", from); code != 200 {
			t.Errorf("the first request: %d", code)
		}
		code, header, body := r.get("/", "Forwarded", from)
		after, err := time.ParseDuration(header.Get("Retry-After") + "s")
		if code != 429 || err != nil || after < time.Second || after > 50*time.Second || !strings.Contains(body, limits.ReasonRequests) {
			t.Errorf("the second: %d, again after %v (%v): %s", code, after, err, body)
		}
	}
	if refused := r.metric("spatialflow_refused_total", "door", "http", "reason", limits.ReasonRequests); refused != 3 {
		t.Errorf("%v are counted", refused)
	}
}

// A viewer that may have some bytes a second gets the newest scenes that this makes, and nobody waits for it.
func TestBytesPerViewer(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Callers.Bytes = 1 }) // one scene, and no other for long
	limited := r.watch("cam1")
	b.publish(t, "cam1", "s", 1)
	if m := limited.scene(); m.header.Frame.Seq != 1 {
		t.Errorf("scene %d comes first", m.header.Frame.Seq)
	}
	for seq := uint64(2); seq < 6; seq++ {
		b.publish(t, "cam1", "s", seq)
		other := r.watch("cam1")
		for other.scene().header.Frame.Seq != seq { // another viewer's first scene is the newest
			continue
		}
		other.conn.CloseNow()
	}
	r.eventually("count of what the viewer misses", func() bool {
		return r.metric("spatialflow_viewer_drops_total", "reason", "slow") >= 3
	})
}
