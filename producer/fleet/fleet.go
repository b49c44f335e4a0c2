// Package fleet knows what the services of a deployment say of themselves.
package fleet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

const (
	aliveFor    = 3 * time.Second // after which a service that is not heard is gone
	mostHeard   = 4096            // services that are told apart
	forgetEvery = time.Second
)

// Fleet is who is alive. Its methods may be called from many goroutines and wait for nothing.
type Fleet struct {
	own string // alive subject of this producer

	mu    sync.Mutex
	began time.Time
	heard map[string]service // by alive subject
}

type service struct {
	stage string
	slots int    // frames that a worker has in hand at once
	live  int    // sources of a producer that take a share of credits
	list  string // of sources, of a producer
	at    time.Time
}

// New is a fleet of nobody yet. own is the subject of this producer's alive messages.
func New(own string) *Fleet { return &Fleet{own: own, began: time.Now(), heard: map[string]service{}} }

// Watch listens to the bus's own deployment until ctx ends. Its error is that of a subscription.
func (f *Fleet) Watch(ctx context.Context, b *bus.Bus, log *slog.Logger) error {
	alive, err := b.Subscribe(flow.AliveSubject("*", "*"), func(msg *nats.Msg) {
		if alive, err := flow.ParseAliveOf(msg.Subject, msg.Data); err == nil { // the gateway counts what is none
			f.Hear(msg.Subject, alive, time.Now())
		}
	})
	if err != nil {
		return err
	}
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-ticker.C:
			f.forget(now)
		}
	}
	if err := alive.Unsubscribe(); err != nil {
		log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
	}
	return nil
}

// Hear takes a service's word, unless too many have spoken.
func (f *Fleet) Hear(subject string, alive flow.Alive, now time.Time) {
	said := service{stage: alive.Stage, slots: max(1, alive.Parallel), live: alive.LiveSources, list: alive.List, at: now}
	if alive.SourceCount == 0 { // a producer that does not count has all of them in its message
		for _, s := range alive.Sources {
			if s.Mode == flow.ModeLive && s.State == flow.StateRunning {
				said.live++
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.heard[subject]; known || len(f.heard) < mostHeard {
		f.heard[subject] = said
	}
}

func (f *Fleet) forget(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for subject, said := range f.heard {
		if now.Sub(said.at) > aliveFor {
			delete(f.heard, subject)
		}
	}
}

// Heard says whether everybody who is alive has been heard by now.
func (f *Fleet) Heard(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return now.Sub(f.began) > aliveFor
}

// Slots counts the frames that the workers of a group have in hand at once; 0: none of them is alive.
func (f *Fleet) Slots(group string) (slots int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, said := range f.heard {
		if said.stage == group {
			slots += said.slots
		}
	}
	return slots
}

// Sharers counts the producers with a list of sources, this one at least.
func (f *Fleet) Sharers(list string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 1
	for subject, said := range f.heard {
		if subject != f.own && said.list == list {
			n++
		}
	}
	return n
}

// LiveSources counts the live sources that run and capture pictures, as their producers say: mine are this producer's, one
// at least, and all are everybody's. A lossless source, a camera that is lost, and an ingested source that nobody publishes
// to any more take no share.
func (f *Fleet) LiveSources() (mine, all int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for subject, said := range f.heard {
		if subject == f.own {
			mine = said.live
			continue
		}
		all += said.live
	}
	mine = max(mine, 1)
	return mine, mine + all
}
