package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/bus/bustest"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

// book is a store that counts, in its own time.
type book struct {
	scenes, busy, most atomic.Int64 // stored, being stored, and most of them at once, of one session
	takes              time.Duration
	closed             atomic.Bool // nothing can be read
	positions          sync.Map    // by source
	before             atomic.Bool // a frame before those that are answered is stored
}

func (b *book) Position(_ context.Context, source, _ string) (flow.Position, *flow.Scene, error) {
	if b.closed.Load() {
		return flow.Position{}, nil, errors.New("no leader")
	}
	if position, ok := b.positions.Load(source); ok {
		return position.(flow.Position), nil, nil
	}
	return flow.Position{}, nil, bus.ErrNotFound
}

func (b *book) StoredBefore(context.Context, flow.Groups, int, flow.FrameID) (bool, error) {
	return b.before.Load(), nil
}

func (b *book) SetPosition(_ context.Context, source, _ string, position flow.Position) error {
	b.positions.Store(source, position)
	return nil
}

func (b *book) LastScene(context.Context, string, string) (*flow.Scene, error) {
	return nil, bus.ErrNotFound
}

func (b *book) LastLiveScene(context.Context, string) (*flow.Scene, error) {
	return nil, bus.ErrNotFound
}

func (b *book) PublishScene(context.Context, *flow.Scene) error {
	b.most.Store(max(b.most.Load(), b.busy.Add(1)))
	time.Sleep(b.takes)
	b.busy.Add(-1)
	b.scenes.Add(1)
	return nil
}

func (b *book) PublishDone(string, string, flow.Done) error { return nil }

// letter is a message that says what became of it.
type letter struct {
	jetstream.Msg
	acked, back atomic.Int64
}

func (*letter) Data() []byte                       { return make([]byte, 100) }
func (l *letter) Ack() error                       { l.acked.Add(1); return nil }
func (l *letter) Nak() error                       { l.back.Add(1); return nil }
func (l *letter) NakWithDelay(time.Duration) error { l.back.Add(1); return nil }
func (l *letter) InProgress() error                { return nil }
func (l *letter) state() (acked, givenBack bool)   { return l.acked.Load() > 0, l.back.Load() > 0 }

// room is a partition whose results come from a test.
type room struct {
	*partition
	t        *testing.T
	cancel   context.CancelFunc
	ended    chan struct{}
	sequence uint64
}

func newRoom(t *testing.T, store Store, limits Limits) *room {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPartition(&Shared{
		Limits: limits, Env: service.Env{Log: silent()}, Store: store, Metrics: metrics.New(prometheus.NewRegistry()),
		Deployed: bustest.Deployed(flow.DefaultDeployment()), Newer: new(bus.Newer), Live: join.NewLags(), Lossless: join.NewLags(),
		Unpackers: join.NewUnpackers(),
	}, 0)
	r := &room{partition: p, t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		_ = p.dispatch(ctx, func(pulling) {})
		close(r.ended)
	}()
	return r
}

func (r *room) leave() {
	r.cancel()
	<-r.ended
}

// put hands a result in, and waits until nothing moves any more.
func (r *room) put(group, source string, seq uint64) *letter {
	r.sequence++
	l := new(letter)
	r.results <- delivery.New(&flow.Result{
		Version: flow.Wire, Group: group, Source: source, Session: "s", Seq: seq, Mode: flow.ModeLossless,
		Plan: []string{flow.GroupDetect, flow.GroupDepth},
	}, l, &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: r.sequence}})
	synctest.Wait()
	return l
}

func wantState(t *testing.T, what string, l *letter, acked, givenBack bool) {
	t.Helper()
	if a, b := l.state(); a != acked || b != givenBack {
		t.Errorf("%s: acked %v, given back %v; want %v and %v", what, a, b, acked, givenBack)
	}
}

// A source that is silent and has nothing open is forgotten with its goroutine; one that waits for something is not, and both go
// on when they are heard again.
func TestSilentSourcesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(book)
		r := newRoom(t, store, Limits{Sources: 10, Bytes: 1 << 20})
		r.put(flow.GroupDetect, "done", 1)
		r.put(flow.GroupDepth, "done", 1)
		waits := r.put(flow.GroupDetect, "waits", 1)
		time.Sleep(idleFor + 2*tidyEvery)
		synctest.Wait()
		if len(r.actors.known) != 1 || r.actors.known[name{flow.ModeLossless, "waits", "s"}] == nil {
			t.Errorf("known: %v, want the source that waits alone", r.actors.known)
		}
		wantState(t, "what waits", waits, false, false)
		r.put(flow.GroupDepth, "waits", 1)
		wantState(t, "what waited", waits, true, false)
		r.put(flow.GroupDetect, "done", 2)
		wantState(t, "the next frame", r.put(flow.GroupDepth, "done", 2), true, false)
		if store.scenes.Load() != 3 {
			t.Errorf("%d scenes, want 3", store.scenes.Load())
		}
		r.leave()
	})
}

// Beyond the number of sources the one silent longest is forgotten, but none that waits for something.
func TestMoreSourcesThanAreKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, new(book), Limits{Sources: 2, Bytes: 1 << 20})
		r.put(flow.GroupDetect, "a", 1)
		r.put(flow.GroupDetect, "b", 1)
		wantState(t, "a third beside two that wait", r.put(flow.GroupDetect, "c", 1), false, true)
		wantState(t, "the rest of the first", r.put(flow.GroupDepth, "a", 1), true, false)
		wantState(t, "a third in its place", r.put(flow.GroupDetect, "c", 1), false, false)
		if r.actors.known[name{flow.ModeLossless, "a", "s"}] != nil || len(r.actors.known) != 2 {
			t.Errorf("known: %v, want b and c", r.actors.known)
		}
		r.leave()
	})
}

// What a source is given while it can't be read where it stands waits in its mailbox, which is bounded; afterwards it goes on.
func TestMailboxIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(book)
		store.closed.Store(true)
		r := newRoom(t, store, Limits{Sources: 2, Bytes: 1 << 20})
		for seq := range uint64(mailboxSize) {
			wantState(t, fmt.Sprint("result ", seq+1), r.put(flow.GroupDetect, "a", seq+1), false, false)
		}
		wantState(t, "one too many", r.put(flow.GroupDetect, "a", mailboxSize+1), false, true)
		store.closed.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantState(t, "the rest of frame 1", r.put(flow.GroupDepth, "a", 1), true, false)
		if store.scenes.Load() != 1 {
			t.Errorf("%d scenes, want 1", store.scenes.Load())
		}
		r.leave()
	})
}

// Full of what waits, a partition takes what a session's next frame needs, and gives back the rest.
func TestFullPartitionGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, new(book), Limits{Sources: 4, Bytes: 1000})
		for seq := uint64(2); seq <= 11; seq++ { // 100 bytes each
			wantState(t, "while there is room", r.put(flow.GroupDetect, "a", seq), false, false)
		}
		wantState(t, "without room", r.put(flow.GroupDetect, "a", 12), false, true)
		wantState(t, "of another session's next frame", r.put(flow.GroupDetect, "b", 1), false, false)
		wantState(t, "of another session's later frame", r.put(flow.GroupDetect, "b", 2), false, true)
		wantState(t, "of the next frame", r.put(flow.GroupDetect, "a", 1), false, false)
		wantState(t, "the rest of it", r.put(flow.GroupDepth, "a", 1), true, false)
		r.leave()
	})
}

// A session stores one scene after the other, and sessions do not wait for each other.
func TestSessionsStoreSideBySide(t *testing.T) {
	t.Parallel()
	for _, sources := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			store := &book{takes: time.Second}
			r := newRoom(t, store, Limits{Sources: 10, Bytes: 1 << 20})
			begin := time.Now()
			for seq := uint64(1); seq <= 10; seq++ {
				for source := range sources {
					r.put(flow.GroupDetect, fmt.Sprint("a", source), seq)
					r.put(flow.GroupDepth, fmt.Sprint("a", source), seq)
				}
			}
			for store.scenes.Load() < int64(10*sources) {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(begin).Round(time.Second); took != 10*time.Second || store.most.Load() != int64(sources) {
				t.Errorf("%d sessions: %v for 10 scenes each, %d at once", sources, took, store.most.Load())
			}
			r.leave()
		})
	}
}

// A session of which nothing is recorded, and whose first frames are gone, goes on with the first that is answered, and waits
// for those before it as long as one is stored.
func TestSessionWhoseRecordIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := new(book)
		store.before.Store(true)
		r := newRoom(t, store, Limits{Sources: 4, Bytes: 1 << 20})
		var all []*letter
		for _, seq := range []uint64{5, 4} {
			for _, group := range []string{flow.GroupDetect, flow.GroupDepth} {
				all = append(all, r.put(group, "a", seq))
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		wantState(t, "frame 4 while a frame before it is stored", all[2], false, false)
		store.before.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, l := range all {
			wantState(t, "frames 4 and 5", l, true, false)
		}
		wantState(t, "the next frame", r.put(flow.GroupDetect, "a", 6), false, false)
		wantState(t, "the rest of it", r.put(flow.GroupDepth, "a", 6), true, false)
		if store.scenes.Load() != 3 {
			t.Errorf("%d scenes, want 3", store.scenes.Load())
		}
		r.put(flow.GroupDetect, "late", 2) // its first look was at a replica that was behind
		store.positions.Store("late", flow.Position{Seq: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		wantState(t, "of a session whose record is found later", r.put(flow.GroupDepth, "late", 2), true, false)
		r.leave()
	})
}
