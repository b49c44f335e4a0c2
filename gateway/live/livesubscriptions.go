package live

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// slotsKept is for how long frames of live sources are awaited under the number of slots that there were before a group was
// added: no producer takes longer to notice.
const slotsKept = time.Minute

// liveSubscriptions are those for the frames of the live sources that are watched: the frames of all cameras would be too much
// for a gateway whose viewers watch a few.
type liveSubscriptions struct {
	subscribe func(subject string) (*nats.Subscription, error)
	slots     map[int]time.Time // how many there are, and were: since when there are others; zero: there are so many now
	open      map[string]*nats.Subscription
}

func newLiveSubscriptions(subscribe func(subject string) (*nats.Subscription, error)) *liveSubscriptions {
	return &liveSubscriptions{subscribe: subscribe, slots: map[int]time.Time{}, open: map[string]*nats.Subscription{}}
}

// follow makes the sources whose frames come the given ones. When a slot is added, frames of the producers that know of it and of
// those that don't yet both come, so that no viewer misses a picture.
func (l *liveSubscriptions) follow(groups flow.Groups, sources []string, now time.Time) error {
	for n, until := range l.slots {
		switch {
		case n == len(groups):
		case until.IsZero():
			l.slots[n] = now.Add(slotsKept)
		case !now.Before(until):
			delete(l.slots, n)
		}
	}
	l.slots[len(groups)] = time.Time{}
	wanted := make(map[string]bool, len(sources)*len(l.slots))
	for n := range l.slots {
		for _, source := range sources {
			wanted[make(flow.Groups, n).AcceptedSubject(flow.ModeLive, source)] = true
		}
	}
	for subject := range wanted {
		if l.open[subject] != nil {
			continue
		}
		s, err := l.subscribe(subject)
		if err != nil {
			return err
		}
		l.open[subject] = s
	}
	for subject, s := range l.open {
		if !wanted[subject] {
			unsubscribe([]*nats.Subscription{s})
			delete(l.open, subject)
		}
	}
	return nil
}

func (l *liveSubscriptions) all() []*nats.Subscription {
	all := make([]*nats.Subscription, 0, len(l.open))
	for _, s := range l.open {
		all = append(all, s)
	}
	return all
}

func (l *liveSubscriptions) close() {
	unsubscribe(l.all())
	clear(l.open)
}
