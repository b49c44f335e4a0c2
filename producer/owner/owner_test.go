package owner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 3 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// provisioned is a server of its own, and how to connect to it.
func provisioned(t *testing.T) func() *bus.Bus {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	connect := func() *bus.Bus {
		b, err := server.Connect("test", quiet)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	if err := connect().Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	return connect
}

// party is a producer that carries names, and tells which.
type party struct {
	owner  *Owner
	fleet  *fleet.Fleet
	rows   []*account.Row
	cancel context.CancelFunc
	ends   sync.WaitGroup

	mu      sync.Mutex
	carries map[string]func() bool // whether it may admit, by name
	states  map[string]string
}

func start(t *testing.T, b *bus.Bus, instance string, movable, never bool, names ...string) *party {
	t.Helper()
	p := &party{fleet: fleet.New(instance), carries: map[string]func() bool{}, states: map[string]string{}}
	p.owner = New(b, quiet, instance, p.fleet, names, never)
	var statuses []flow.SourceStatus
	for _, name := range names {
		statuses = append(statuses, flow.SourceStatus{Source: name})
	}
	p.rows = account.NewBoard().Add(statuses, "run")
	ctx, cancel := context.WithCancel(t.Context())
	p.cancel = cancel
	for i, name := range names {
		p.ends.Go(func() {
			state, reason := p.owner.Carry(ctx, name, movable, p.rows[i], func(ctx context.Context, held func() bool, waited bool) (flow.State, string) {
				p.set(name, held)
				<-ctx.Done()
				p.set(name, nil)
				return flow.StateStopped, ""
			}, func() {})
			p.mu.Lock()
			defer p.mu.Unlock()
			p.states[name] = string(state) + " " + reason
		})
	}
	t.Cleanup(func() { cancel(); p.ends.Wait() })
	return p
}

func (p *party) set(name string, held func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held == nil {
		delete(p.carries, name)
		return
	}
	p.carries[name] = held
}

// has lists the names that it may admit frames of now.
func (p *party) has() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, held := range p.carries {
		if held() {
			names = append(names, name)
		}
	}
	return names
}

func (p *party) state(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states[name]
}

// hears makes a party believe that others are alive with the same list.
func (p *party) hears(others ...string) {
	for _, other := range others {
		p.fleet.Hear(other, flow.Alive{Stage: "producer", List: p.owner.list}, time.Now())
	}
}

func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for begin := time.Now(); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("never: %s", what)
		}
	}
}

// Producers with the same list have equal parts of it; no name is ever another's too; and what a stopped one had the other
// takes over.
func TestProducersShareNames(t *testing.T) {
	t.Parallel()
	connect, names := provisioned(t), []string{"a", "b", "c", "d", "e"}
	first := start(t, connect(), "first", true, false, names...)
	until(t, "the first has all", func() bool { return len(first.has()) == 5 })
	first.hears("second")
	second := start(t, connect(), "second", true, false, names...)
	second.hears("first")
	until(t, "they share", func() bool {
		one, other := first.has(), second.has()
		for _, name := range one {
			for _, too := range other {
				if name == too {
					t.Fatalf("both have %s", name)
				}
			}
		}
		return len(one) == 3 && len(other) == 2
	})
	first.cancel()
	first.ends.Wait()
	second.fleet.Hear("first", flow.Alive{Stage: "producer"}, time.Now()) // it shares no more
	until(t, "the second has all", func() bool { return len(second.has()) == 5 })
}

// A name that another has is refused by who does not stand by; and what another can't go on with waits for nobody.
func TestTakenNameIsRefused(t *testing.T) {
	t.Parallel()
	connect := provisioned(t)
	first := start(t, connect(), "first", true, false, "a")
	until(t, "the first has it", func() bool { return len(first.has()) == 1 })
	for what, p := range map[string]*party{
		"--takeover=never": start(t, connect(), "second", true, true, "a"), "without a run": start(t, connect(), "third", false, false, "a"),
	} {
		until(t, what+" ends", func() bool { return p.state("a") != "" })
		if state := p.state("a"); !strings.HasPrefix(state, "failed "+ErrTaken.Error()) || !strings.Contains(state, "first") {
			t.Errorf("%s: %s", what, state)
		}
	}
}

// Who loses the lease admits nothing, takes it again when nobody else has, and gives the name up when somebody has.
func TestLostLease(t *testing.T) {
	t.Parallel()
	connect := provisioned(t)
	b := connect()
	p := start(t, connect(), "own", true, false, "a")
	until(t, "it has the name", func() bool { return len(p.has()) == 1 })
	kv, err := b.JetStream().KeyValue(t.Context(), bus.OwnersBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), LeaseName("a")); err != nil {
		t.Fatal(err)
	}
	until(t, "it has the name again", func() bool {
		holder, err := b.LeaseHolder(t.Context(), LeaseName("a"))
		return err == nil && holder == "own" && len(p.has()) == 1
	})
	if _, err := kv.Put(t.Context(), LeaseName("a"), []byte("other")); err != nil {
		t.Fatal(err)
	}
	until(t, "it gives the name up", func() bool { return len(p.has()) == 0 })
	until(t, "it has the name once the other's lease has ended", func() bool { return len(p.has()) == 1 })
}

// A process that was held still has no lease when it wakes, before it knows.
func TestHeldEndsByItself(t *testing.T) {
	t.Parallel()
	lease, err := provisioned(t)().Lease(t.Context(), LeaseName("a"), "own")
	if err != nil {
		t.Fatal(err)
	}
	if !lease.Held() {
		t.Error("a new lease is not held")
	}
	until(t, "a lease that nobody renews is not held", func() bool { return !lease.Held() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := lease.Keep(ctx); !errors.Is(err, bus.ErrLeaseLost) {
		t.Errorf("it is kept all the same: %v", err)
	}
}

func TestListIgnoresOrder(t *testing.T) {
	t.Parallel()
	if List([]string{"a", "b"}) != List([]string{"b", "a"}) || List([]string{"a", "b"}) == List([]string{"ab"}) {
		t.Error(fmt.Sprint(List([]string{"a", "b"}), List([]string{"b", "a"}), List([]string{"ab"})))
	}
}
