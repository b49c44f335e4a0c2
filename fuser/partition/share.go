package partition

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

const fuserGone = 3 * time.Second // a fuser that is not heard for so long

// Share says how many of the partitions a fuser may own: as many as fall to it when all that are alive share.
type Share struct {
	Instance string // of the fuser

	mu         sync.Mutex
	partitions int // of the deployment
	taken      int // owned, or being tried
	heard      map[string]time.Time
}

// NewShare makes the share of one fuser.
func NewShare() *Share { return &Share{Instance: ulid.Make().String(), heard: map[string]time.Time{}} }

// SetPartitions says how many partitions are shared.
func (s *Share) SetPartitions(partitions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partitions = partitions
}

// most is how many partitions fall to each fuser, rounded up, under s.mu.
func (s *Share) most() int {
	fusers := 0
	for subject, at := range s.heard {
		if time.Since(at) > fuserGone {
			delete(s.heard, subject)
			continue
		}
		fusers++
	}
	return (s.partitions + max(fusers, 1) - 1) / max(fusers, 1)
}

// Reserve reserves one partition; false is returned when the fuser has its share.
func (s *Share) Reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.most() {
		return false
	}
	s.taken++
	return true
}

// Return gives back what was reserved.
func (s *Share) Return() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

// Shed gives one partition up when the fuser owns more than its share; it is true for one caller per partition too many.
func (s *Share) Shed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken <= s.most() {
		return false
	}
	s.taken--
	return true
}

// Reserved is how many partitions are owned, or being tried.
func (s *Share) Reserved() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// Watch counts the fusers that are alive until ctx ends.
func (s *Share) Watch(ctx context.Context, env service.Env) error {
	alive, err := env.Bus.Subscribe(flow.AliveSubject(join.Stage, "*"), func(msg *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.heard[msg.Subject]; known || len(s.heard) < flow.MaxPartitions {
			s.heard[msg.Subject] = time.Now() // more fusers than partitions change nothing
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to the fusers that are alive: %w", err)
	}
	<-ctx.Done()
	if err := alive.Unsubscribe(); err != nil {
		env.Log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
	}
	return nil
}
