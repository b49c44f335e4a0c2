package live

import (
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	aliveFor = 3 * time.Second // after which a service that is not heard is gone
	idleFor  = 5 * time.Second // after which a source that captured nothing takes no share of credits
	maxHeard = 4096            // services that are told apart
)

// hearing is what services say of themselves, by alive subject. It is not safe for concurrent use.
type hearing map[string]heard

type heard struct {
	stage   string
	slots   int
	at      time.Time
	sources map[string]captured // live ones that run
}

// captured is how many pictures a source has captured, and since when it is so many.
type captured struct {
	n     uint64
	since time.Time
}

func newHearing() hearing { return hearing{} }

// hear takes a service's word, unless too many have spoken.
func (h hearing) hear(subject string, alive flow.Alive, now time.Time) {
	before, known := h[subject]
	if !known && len(h) >= maxHeard {
		return
	}
	said := heard{stage: alive.Stage, slots: max(1, alive.Parallel), at: now, sources: map[string]captured{}}
	for _, s := range alive.Sources {
		if s.Mode != flow.ModeLive || s.State != flow.StateRunning {
			continue
		}
		c, known := before.sources[s.Source]
		if !known || c.n != s.Account.Captured {
			c = captured{s.Account.Captured, now}
		}
		said.sources[s.Source] = c
	}
	h[subject] = said
}

// forget drops the services that are gone.
func (h hearing) forget(now time.Time) {
	for subject, said := range h {
		if now.Sub(said.at) > aliveFor {
			delete(h, subject)
		}
	}
}

// slots counts the frames that the workers of each group have in hand at once.
func (h hearing) slots() map[string]int {
	slots := map[string]int{}
	for _, said := range h {
		slots[said.stage] += said.slots
	}
	return slots
}

// liveSources counts the live sources that run and capture pictures: mine are the producer's whose alive subject is own,
// one at least, and all are everybody's. A lossless source, a camera that is lost, and an ingested source that nobody
// publishes to any more take no share.
func (h hearing) liveSources(own string, now time.Time) (mine, all int) {
	for subject, said := range h {
		n := 0
		for _, c := range said.sources {
			if now.Sub(c.since) <= idleFor {
				n++
			}
		}
		if subject == own {
			mine = n
			continue
		}
		all += n
	}
	mine = max(mine, 1)
	return mine, mine + all
}
