package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// statusEvery is how often it is looked at whether a viewer has to be told the status, statusMost after how long it is told what
// has not changed, and statusFresh how long an encoded one serves all viewers.
const (
	statusEvery = time.Second
	statusMost  = 2 * time.Second
	statusFresh = 50 * time.Millisecond
)

// board is the status of all sources, each encoded once for all viewers and as often as it changes.
type board struct {
	hub *hub

	mu    sync.Mutex
	at    time.Time
	infos map[string]*encoded // by source
	known *encoded            // [api.KnownSource] of all
	all   []api.KnownSource
	parts map[string]*part // of known, by the scopes of those who see some sources only
}

// part is [api.KnownSource] of the sources that some see.
type part struct {
	known *encoded
	at    time.Time // of the board that it is of
	read  time.Time
}

// partKept is for how long it is known what those who see some sources were told, while none of them reads.
const partKept = 10 * statusMost

// encoded is JSON that nobody changes: what differs has another address.
type encoded struct{ json []byte }

// notice is what a board says at one time to somebody: infos of all sources, of which that one watches those it sees.
type notice struct {
	infos map[string]*encoded
	known *encoded
}

// read is what the board says now, or said a moment ago, to somebody. To all who see everything, and to all who see the same, it is
// encoded once.
func (b *board) read(who *access.Caller) (notice, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil || time.Since(b.at) >= statusFresh {
		if err := b.renew(); err != nil {
			return notice{}, err
		}
	}
	if who.SeesAll() {
		return notice{b.infos, b.known}, nil
	}
	known, err := b.part(who)
	return notice{b.infos, known}, err
}

// part is what is known to those who see some sources, under b.mu.
func (b *board) part(who *access.Caller) (*encoded, error) {
	p := b.parts[who.Scope()]
	if p == nil {
		p = new(part)
		b.parts[who.Scope()] = p
	}
	p.read = b.at
	if p.known != nil && p.at.Equal(b.at) {
		return p.known, nil
	}
	seen := make([]api.KnownSource, 0, len(b.all))
	for _, source := range b.all {
		if who.Sees(source.Source) {
			seen = append(seen, source)
		}
	}
	known, err := p.known.renewed(seen)
	if err != nil {
		return nil, err
	}
	p.known, p.at = known, b.at
	return known, nil
}

// renew encodes what has changed, under b.mu, and not under the hub's lock.
func (b *board) renew() error {
	status := b.hub.currentStatus()
	infos, known := make(map[string]*encoded, len(status.Sources)), make([]api.KnownSource, len(status.Sources))
	for i, info := range status.Sources {
		known[i] = api.KnownSource{Source: info.Source, State: info.State}
		one, err := b.infos[info.Source].renewed(info)
		if err != nil {
			return err
		}
		infos[info.Source] = one
	}
	all, err := b.known.renewed(known)
	if err != nil {
		return err
	}
	b.infos, b.known, b.all, b.at = infos, all, known, time.Now()
	maps.DeleteFunc(b.parts, func(_ string, p *part) bool { return b.at.Sub(p.read) > partKept })
	return nil
}

// renewed is the value, encoded: e itself when it says so already.
func (e *encoded) renewed(value any) (*encoded, error) {
	data, err := json.Marshal(value)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode the status: %w", err)
	case e != nil && bytes.Equal(e.json, data):
		return e, nil
	default:
		return &encoded{data}, nil
	}
}

// told is what one viewer was told last.
type told struct {
	sources []*encoded
	known   *encoded
	width   int
	at      time.Time
}

// status is the message for a viewer that watches these sources and has pictures made so wide; nil when it knows all that, and
// anyway is false. most is how many it may watch.
func (t *told) status(n notice, watched []string, width, most int, anyway bool, now time.Time) []byte {
	sources := make([]*encoded, 0, len(watched))
	slices.Sort(watched)
	for _, name := range watched {
		if info := n.infos[name]; info != nil {
			sources = append(sources, info)
		}
	}
	changed := t.known != n.known || t.width != width || !slices.Equal(t.sources, sources)
	if !changed && !anyway && now.Sub(t.at) < statusMost {
		return nil
	}
	message := []byte(`{"type":"status","sources":[`)
	for i, source := range sources {
		if i > 0 {
			message = append(message, ',')
		}
		message = append(message, source.json...)
	}
	message = append(message, ']')
	if t.known != n.known {
		message = fmt.Appendf(message, `,"known":%s,"max_watched":%d`, n.known.json, most)
	}
	if width > 0 {
		message = fmt.Appendf(message, `,"adapted_width":%d`, width)
	}
	*t = told{sources: sources, known: n.known, width: width, at: now}
	return append(message, '}')
}
