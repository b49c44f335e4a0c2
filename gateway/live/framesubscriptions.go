package live

import (
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// slotsKept is for how long frames are awaited under the number of slots that there were before a group was
// added: no producer takes longer to notice.
const slotsKept = time.Minute

// frameSubscriptions are those for the frames of the sources that are watched: the frames of all would be too much for a gateway
// whose viewers watch a few.
type frameSubscriptions struct {
	subscribe func(subject string) (*nats.Subscription, error)
	modes     []flow.Mode       // of the frames
	slots     map[int]time.Time // how many there are, and were: since when there are others; zero: there are so many now
	open      map[string]*nats.Subscription
}

func newFrameSubscriptions(subscribe func(subject string) (*nats.Subscription, error), modes ...flow.Mode) *frameSubscriptions {
	return &frameSubscriptions{subscribe: subscribe, modes: modes, slots: map[int]time.Time{}, open: map[string]*nats.Subscription{}}
}

// follow makes the sources whose frames come the given ones, and answers those whose did not come before. Frames of producers that
// know fewer groups come too, so that no viewer misses a picture when a slot is added.
func (f *frameSubscriptions) follow(groups flow.Groups, sources []string, now time.Time) (added []string, err error) {
	for n, until := range f.slots {
		switch {
		case n == len(groups):
		case until.IsZero():
			f.slots[n] = now.Add(slotsKept)
		case !now.Before(until):
			delete(f.slots, n)
		}
	}
	f.slots[len(groups)] = time.Time{}
	most := slices.Max(slices.Collect(maps.Keys(f.slots)))
	wanted := make(map[string]bool, 2*len(sources)*most)
	for _, source := range sources {
		for _, mode := range f.modes {
			for n := range most {
				subject := make(flow.Groups, n+1).AcceptedSubject(mode, source)
				wanted[subject] = true
				if f.open[subject] != nil {
					continue
				}
				s, err := f.subscribe(subject)
				if err != nil {
					return added, err
				}
				f.open[subject] = s
				if !slices.Contains(added, source) {
					added = append(added, source)
				}
			}
		}
	}
	for subject, s := range f.open {
		if !wanted[subject] {
			unsubscribe([]*nats.Subscription{s})
			delete(f.open, subject)
		}
	}
	return added, nil
}

func (f *frameSubscriptions) all() []*nats.Subscription {
	all := make([]*nats.Subscription, 0, len(f.open))
	for _, s := range f.open {
		all = append(all, s)
	}
	return all
}

func (f *frameSubscriptions) close() {
	unsubscribe(f.all())
	clear(f.open)
}
