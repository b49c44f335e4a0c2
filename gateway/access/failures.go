package access

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// What wrong tokens cost who sends them. None of it is asked of who sends a right one.
const (
	freely     = 10              // wrong tokens of an address are answered at once,
	freelyPer  = 6 * time.Second // and one more after each of these
	slowFor    = time.Second     // is what later ones wait
	mostSlow   = 256             // of an address wait at once; more are answered 429
	mostSlowed = 2048            // of all addresses together
	mostFailed = 4096            // addresses are remembered; the one that failed longest ago makes room
)

// failures are the addresses that sent wrong tokens.
type failures struct {
	mu     sync.Mutex
	order  list.List // of *failed, the one that failed longest ago first
	at     map[netip.Addr]*list.Element
	slowed int // that wait now
}

// failed is an address that sent wrong tokens.
type failed struct {
	address netip.Addr
	freely  *rate.Limiter
	slowed  int  // that wait now
	told    bool // in the log
}

func newFailures() *failures { return &failures{at: map[netip.Addr]*list.Element{}} }

// slow has who sent a wrong token wait when many were sent from that address. first says that this is the first that has to; often
// that it may not even wait.
func (f *failures) slow(ctx context.Context, address netip.Addr, now time.Time) (first, often bool) {
	one, first, wait, often := f.add(address, now)
	if !wait {
		return first, often
	}
	timer := time.NewTimer(slowFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	one.slowed--
	f.slowed--
	return first, false
}

func (f *failures) add(address netip.Addr, now time.Time) (one *failed, first, wait, often bool) {
	address = telemetry.Client(address)
	f.mu.Lock()
	defer f.mu.Unlock()
	element := f.at[address]
	if element == nil {
		if f.order.Len() >= mostFailed {
			oldest := f.order.Remove(f.order.Front()).(*failed)
			delete(f.at, oldest.address)
		}
		element = f.order.PushBack(&failed{address: address, freely: rate.NewLimiter(rate.Every(freelyPer), freely)})
		f.at[address] = element
	}
	f.order.MoveToBack(element)
	one = element.Value.(*failed)
	if one.freely.AllowN(now, 1) {
		one.told = one.told && one.freely.TokensAt(now) < freely-1 // it was quiet for long
		return one, false, false, false
	}
	first, one.told = !one.told, true
	if one.slowed >= mostSlow || f.slowed >= mostSlowed {
		return one, first, false, true
	}
	one.slowed++
	f.slowed++
	return one, first, true, false
}

// count is how many addresses are remembered.
func (f *failures) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order.Len()
}
