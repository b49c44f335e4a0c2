package pipeline

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	noteEvery  = time.Minute     // between two lines of the same
	silentFor  = 3 * time.Second // then a worker is gone
	notesKept  = 64              // services whose notes are told apart
	missedFrom = 5 * time.Second // a group may have to start
)

// notes are what the services, those of other programs too, can't do, for the person who looks at the progress: what they say
// themselves, and groups that films wait for.
type notes struct {
	mu    sync.Mutex
	begun time.Time
	heard map[string]time.Time // groups, when one of their workers was
	said  map[string]string    // by stage and host
	told  map[string]time.Time // lines
}

func newNotes(now time.Time) *notes {
	return &notes{begun: now, heard: map[string]time.Time{}, said: map[string]string{}, told: map[string]time.Time{}}
}

// hear takes an alive message.
func (n *notes) hear(msg *nats.Msg) {
	alive, err := flow.ParseAlive(msg.Data)
	if err != nil {
		return // the gateway counts it
	}
	n.add(alive, time.Now())
}

func (n *notes) add(alive flow.Alive, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	who := alive.Stage + " on " + alive.Host
	if len(n.heard) < flow.MaxGroups+8 || !n.heard[alive.Stage].IsZero() {
		n.heard[alive.Stage] = now
	}
	if alive.Note == "" {
		delete(n.said, who)
	} else if len(n.said) < notesKept {
		n.said[who] = alive.Note
	}
}

// lines are those that are to be told now.
func (n *notes) lines(groups flow.Groups, now time.Time) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for who, note := range n.said {
		all = append(all, fmt.Sprintf("%s: %s", who, note))
	}
	for _, group := range groups.On(now) {
		if group.Required() && now.Sub(n.begun) >= missedFrom && now.Sub(n.heard[group.Name]) >= silentFor {
			all = append(all, fmt.Sprintf("group %s has no worker: films wait for it", group.Name))
		}
	}
	slices.Sort(all)
	all = slices.DeleteFunc(all, func(line string) bool { return now.Sub(n.told[line]) < noteEvery })
	for line, at := range n.told {
		if now.Sub(at) >= noteEvery {
			delete(n.told, line)
		}
	}
	for _, line := range all {
		n.told[line] = now
	}
	return all
}
