package telemetry_test

import (
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// peer is a connection of somebody's.
type peer struct {
	net.Conn
	from   string
	closed bool
}

func (p *peer) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.from)) }
func (p *peer) Close() error         { p.closed = true; return nil }

// One client has so many connections and no more, whatever they are about; those that became websockets, and this machine's own, are not
// counted. Nothing is remembered of what is gone.
func TestConnectionsOfOneClient(t *testing.T) {
	t.Parallel()
	const most = 2048
	refused := map[string]int{}
	note, remembered := telemetry.Connections(func(reason string) { refused[reason]++ })
	var open []*peer
	connect := func(from string, becomes http.ConnState) *peer {
		p := &peer{from: from}
		note(p, http.StateNew)
		if !p.closed {
			note(p, becomes)
		}
		open = append(open, p)
		return p
	}
	for i := range most {
		from := "[2001:db8::1]:1"
		if i%2 == 1 {
			from = "[2001:db8::2]:1" // of the same /64
		}
		if connect(from, http.StateActive).closed {
			t.Fatalf("connection %d is closed", i+1)
		}
	}
	if !connect("[2001:db8::3]:1", http.StateActive).closed || refused[telemetry.ReasonConnections] != 1 {
		t.Errorf("one too many is taken; refused %v", refused)
	}
	if connect("[2001:db8:0:1::1]:1", http.StateActive).closed {
		t.Error("another client has none")
	}
	note(open[most], http.StateClosed)
	note(open[0], http.StateHijacked)
	if connect("[2001:db8::1]:1", http.StateActive).closed {
		t.Error("none is taken though one was taken over")
	}
	for range most + 1 {
		if connect("127.0.0.1:1", http.StateActive).closed {
			t.Fatal("this machine's own are bounded")
		}
	}
	for i, p := range open {
		if i != 0 && i != most {
			note(p, http.StateClosed)
		}
	}
	if n := remembered(); n != 0 {
		t.Errorf("%d things are remembered of connections that are gone", n)
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", "::ffff:203.0.113.9": "203.0.113.9", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::", "::1": "::1",
	} {
		if got := telemetry.Client(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("%s: %v, want %s", address, got, want)
		}
	}
	if telemetry.Client(netip.Addr{}).IsValid() {
		t.Error("no address is one")
	}
}
