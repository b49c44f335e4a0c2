package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

var errAway = errors.New("nobody answers")

func TestStoreEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		answers []error // of the tries; the last one again and again
		want    error
		tries   int
	}{
		{"at once", []error{nil}, nil, 1},
		{"later", []error{errAway, bus.ErrFull, bus.ErrNotProvisioned, nats.ErrTimeout, nil}, nil, 5},
		{"somebody else had stored it", []error{errAway, bus.ErrStored}, bus.ErrStored, 2},
		{"no message", []error{flow.ErrMessage}, flow.ErrMessage, 1},
		{"not let in", []error{errAway, bus.ErrRefused}, bus.ErrRefused, 2},
		{"no connection any more", []error{errAway, nats.ErrConnectionClosed}, nats.ErrConnectionClosed, 2},
		{"too large", []error{bus.ErrTooLarge}, bus.ErrTooLarge, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := bus.Store(t.Context(), bus.Policy{}, func(context.Context) error {
					tries++
					if answer := test.answers[min(tries, len(test.answers))-1]; answer != nil {
						return fmt.Errorf("publish: %w", answer)
					}
					return nil
				})
				if !errors.Is(err, test.want) || tries != test.tries {
					t.Errorf("%d tries, then %v; want %d, then %v", tries, err, test.tries, test.want)
				}
			})
		})
	}
}

// A message that stays too large is made smaller as often as that works, and then given up: no try goes by without
// progress or a wait.
func TestStoreShrinks(t *testing.T) {
	t.Parallel()
	for _, sizes := range []int{0, 1, 2} {
		left, tries := sizes, 0
		err := bus.Store(t.Context(), bus.Policy{Shrink: func() bool { left--; return left >= 0 }}, func(context.Context) error {
			tries++
			return bus.ErrTooLarge
		})
		if !errors.Is(err, bus.ErrTooLarge) || tries != sizes+1 {
			t.Errorf("with %d smaller sizes: %d tries, then %v", sizes, tries, err)
		}
	}
}

// A first try has half a second, for a leader that is gone does not answer; waits grow, each with jitter; who waits is told why; and
// the end of ctx ends it within the wait.
func TestStoreWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var tries []time.Duration
		var ends []time.Time
		told := 0
		began := time.Now()
		err := bus.Store(ctx, bus.Policy{Waiting: func(err error) {
			if !errors.Is(err, errAway) {
				t.Errorf("waiting because of %v", err)
			}
			told++
		}}, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			tries = append(tries, time.Until(deadline))
			ends = append(ends, time.Now())
			return errAway
		})
		if !errors.Is(err, errAway) || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v; want the last error and the deadline, at the deadline", time.Since(began), err)
		}
		if tries[0] != 500*time.Millisecond || tries[1] != time.Second || tries[2] != 2*time.Second || tries[5] != 2*time.Second || told != len(tries) {
			t.Errorf("tries have %v…; %d told of %d", tries[:6], told, len(tries))
		}
		for i, wait := 1, 20*time.Millisecond; i < len(ends); i, wait = i+1, min(2*wait, time.Second) {
			if got := ends[i].Sub(ends[i-1]); got < wait/2 || got >= wait*3/2 {
				t.Errorf("wait %d is %v, want %v to %v", i, got, wait/2, wait*3/2)
			}
		}
	})
}

// provisionedWith is provisioned on a server whose max_payload is so many bytes.
func provisionedWith(t *testing.T, payload int32) *bus.Bus {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), MaxPayload: payload, DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("server does not start")
	}
	b, err := bus.Connect(bus.Options{InProcess: s, Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	return b
}

// What is larger than the server takes is too large, whatever the streams would take.
func TestTooLargeForTheServer(t *testing.T) {
	t.Parallel()
	b := provisionedWith(t, 1<<20)
	if most := b.MaxMessage(); most != 1<<20-64<<10 {
		t.Errorf("a message may have %d bytes on a server that takes 1 MiB", most)
	}
	f := frame("cam1", 1, "detect")
	f.Picture = make([]byte, 1<<20)
	if err := b.PublishFrame(t.Context(), flow.DefaultGroups(), f); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("a frame of 1 MiB: %v, want ErrTooLarge", err)
	}
	f.Picture = f.Picture[:900_000]
	if err := b.PublishFrame(t.Context(), flow.DefaultGroups(), f); err != nil {
		t.Errorf("a frame that fits: %v", err)
	}
}

// A guard that is reached is told apart from all else that the server has no room for now.
func TestFullIsTheGuardAlone(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	limits := flow.DefaultLimits()
	limits.GuardBytes = 4 << 10
	provision(t, b, flow.DefaultGroups(), limits)
	f := frame("cam1", 1, "detect")
	f.Picture = make([]byte, 3<<10)
	publishFrames(t, b, flow.DefaultGroups(), f)
	f.Seq = 2
	if err := b.PublishFrame(t.Context(), flow.DefaultGroups(), f); !errors.Is(err, bus.ErrFull) {
		t.Errorf("beyond the guard: %v, want ErrFull", err)
	}
}
