package callers

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// mostAddresses bounds the addresses that are remembered though they have nothing open: some 10 MB.
const mostAddresses = 1 << 15

// table is what each address has. One that has had nothing for so long that it may have all again is as good as new, and forgotten. When
// too many are remembered all the same, new ones share what one may have: nobody who is known loses by it.
type table struct {
	connections int           // of one, at once; 0: no limit
	requests    rate.Limit    // of one, a second; 0: no limit
	burst       int           // requests at once
	rest        time.Duration // after which the burst is there again
	most        int

	mu     sync.Mutex
	of     map[netip.Addr]*caller
	idle   list.List // of *caller: those with nothing open, the one that is so longest first
	others caller    // those for whom there is no room
}

// caller is one address.
type caller struct {
	address  netip.Addr
	open     int
	requests *rate.Limiter
	last     time.Time     // when something of it ended
	idle     *list.Element // nil: something is open
}

func newTable(connections int, requests float64, most int) *table {
	t := &table{connections: connections, requests: rate.Limit(requests), most: most, of: map[netip.Addr]*caller{}}
	if requests > 0 {
		t.burst = int(min(math.Ceil(2*requests), math.MaxInt32))
		t.rest = time.Duration(min(float64(t.burst)/requests, 1e9) * float64(time.Second))
	}
	t.others.requests = t.limiter()
	return t
}

func (t *table) limiter() *rate.Limiter {
	if t.requests == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(t.requests, t.burst)
}

// enter begins a request of an address, which leave ends. It begins none when enough are open already, or when one may begin after a time
// only.
func (t *table) enter(address netip.Addr, now time.Time) (leave func(), after time.Duration, enough bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.find(address, now)
	if t.connections > 0 && c.open >= t.connections {
		return nil, 0, true
	}
	if turn := c.requests.ReserveN(now, 1); turn.DelayFrom(now) > 0 {
		after = turn.DelayFrom(now)
		turn.CancelAt(now)
		return nil, after, false
	}
	c.open++
	if c.idle != nil {
		t.idle.Remove(c.idle)
		c.idle = nil
	}
	return sync.OnceFunc(func() { t.leave(c, time.Now()) }), 0, false
}

// find is what is remembered of an address.
func (t *table) find(address netip.Addr, now time.Time) *caller {
	if c := t.of[address]; c != nil {
		return c
	}
	for range 2 { // so that they become fewer again
		if front := t.idle.Front(); front != nil && now.Sub(front.Value.(*caller).last) >= t.rest {
			delete(t.of, t.idle.Remove(front).(*caller).address)
		}
	}
	if t.idle.Len() >= t.most {
		return &t.others
	}
	c := &caller{address: address, requests: t.limiter(), last: now}
	c.idle = t.idle.PushBack(c)
	t.of[address] = c
	return c
}

func (t *table) leave(c *caller, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.open--; c.open > 0 || c == &t.others {
		return
	}
	c.last = now
	c.idle = t.idle.PushBack(c)
}
