package callers

import (
	"encoding/binary"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// ask begins requests of an address until no more is taken, ends them, and says how many there were.
func (t *table) ask(a netip.Addr, most int) (begun int) {
	for range most {
		leave, after, enough := t.enter(a, time.Now())
		if after > 0 || enough {
			return begun
		}
		leave()
		begun++
	}
	return begun
}

func TestRequestsOfOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable(0, 10, 100)
		if begun := table.ask(address(1), 100); begun != 20 {
			t.Errorf("%d at once, want 20", begun)
		}
		if begun := table.ask(address(2), 100); begun != 20 {
			t.Errorf("%d at once of another, want 20", begun)
		}
		_, after, _ := table.enter(address(1), time.Now())
		if after <= 0 || after > 100*time.Millisecond {
			t.Errorf("the next one is there after %v", after)
		}
		time.Sleep(time.Second)
		if begun := table.ask(address(1), 100); begun != 10 {
			t.Errorf("%d a second later, want 10", begun)
		}
	})
}

func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	table := newTable(2, 0, 100)
	one, _, _ := table.enter(address(1), time.Now())
	two, _, enough := table.enter(address(1), time.Now())
	if enough {
		t.Fatal("the second is not taken")
	}
	if _, _, enough = table.enter(address(1), time.Now()); !enough {
		t.Error("the third is taken")
	}
	if _, _, enough = table.enter(address(2), time.Now()); enough {
		t.Error("another address has none")
	}
	one()
	one() // is no other one's end
	if _, _, enough = table.enter(address(1), time.Now()); enough {
		t.Error("none is taken though one has ended")
	}
	if _, _, enough = table.enter(address(1), time.Now()); !enough {
		t.Error("a third is taken")
	}
	two()
}

// A flood of addresses takes no more memory than a bound, throws out nobody who is known, and what it used up is shared by those who come
// first then, alone; when it is over all is as before.
func TestFloodOfAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 100
		table := newTable(5, 10, most)
		honest, _, _ := table.enter(address(1), time.Now())
		if begun := table.ask(address(2), 15); begun != 15 {
			t.Fatalf("%d of 15", begun)
		}
		for n := range uint32(10 * most) {
			table.ask(address(1000+n), 1)
		}
		if len(table.of) > most+1 {
			t.Errorf("%d addresses are remembered, at most %d and those with something open", len(table.of), most)
		}
		if begun := table.ask(address(2), 100); begun != 5 {
			t.Errorf("one who was there before has %d requests left, want 5", begun)
		}
		if begun := table.ask(address(1), 100); begun != 19 {
			t.Errorf("one with something open has %d requests left, want 19", begun)
		}
		if begun := table.ask(address(3), 100); begun != 0 {
			t.Errorf("a new one has %d requests, which the flood used up", begun)
		}
		time.Sleep(2 * time.Second)
		for n := range uint32(3 * most) {
			if begun := table.ask(address(1000+n), 100); n < most && begun != 20 {
				t.Fatalf("after the flood a new one has %d requests", begun)
			}
			time.Sleep(2 * time.Second)
		}
		if len(table.of) > 3 {
			t.Errorf("%d addresses are remembered long after the flood", len(table.of))
		}
		honest()
	})
}

// This machine's own callers have no limit, unless they are proxies.
func TestLoopback(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		proxies []string
		peer    string
		limited bool
	}{{nil, "127.0.0.1:1", false}, {nil, "[::1]:1", false}, {nil, "203.0.113.9:1", true}, {[]string{"127.0.0.0/8"}, "127.0.0.1:1", true}} {
		c, err := New(Config{TrustedProxies: test.proxies, Connections: 1}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.peer
		if _, err := c.Enter(r); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Enter(r); (err != nil) != test.limited {
			t.Errorf("%s, proxies %v: %v", test.peer, test.proxies, err)
		}
	}
}
