package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client/api"
)

const (
	dialWithin = 10 * time.Second
	askEvery   = 10 * time.Second // whether a connection that says nothing is alive
	firstWait  = time.Second      // before connecting again, on average; twice as long each time
	longWait   = 30 * time.Second
	maxSources = 256     // that are remembered over connections
	maxKept    = 1 << 20 // bytes of a depth map that is
)

// ErrRefused is returned when the gateway does not want what it was asked, and never will.
var ErrRefused = errors.New("the gateway refuses")

// Event is what a gateway says, or what becomes of the connection: one field is set.
type Event struct {
	Scene  *api.Message
	Status *api.Status
	Lost   error // why there is no connection; another is tried after this
}

// Scenes are the new scenes of sources, each with its picture and depth map; without sources, of every one there is or will be,
// up to the gateway's limit. The first of a source is its newest. A scene that comes while the loop's body is busy may be
// dropped in favour of a newer one, and is counted in Dropped; the websocket is no place for whoever needs every scene.
//
// A connection that is lost is made again, until ctx ends, which ends the scenes without an error. No scene comes twice,
// but one whose picture came after it, and of a session none that is older than one before it. [ErrRefused], [ErrToken] or
// [*api.Problem] is the last thing that is yielded.
//
// A token that was never taken ends the scenes with [ErrToken]. One that was, and is not any more, does not: as soon as
// [Options].Token gives another one it is tried; the same one is after 30 s to 45 s.
func (c *Client) Scenes(ctx context.Context, sources ...string) iter.Seq2[*api.Message, error] {
	return func(yield func(*api.Message, error) bool) {
		for event, err := range c.Events(ctx, api.Watch{Sources: sources}) {
			if err != nil {
				yield(nil, err)
				return
			}
			if event.Scene != nil && !yield(event.Scene, nil) {
				return
			}
		}
	}
}

// Events are the scenes of [Client.Scenes] and what a person may want to know besides. PartBytes, which is for readers of the
// websocket itself, is not used.
func (c *Client) Events(ctx context.Context, watch api.Watch) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if watch.Sources == nil {
			watch.Sources = []string{}
		}
		watch.PartBytes = 0
		s := &stream{client: c, watch: watch, yield: yield, seen: map[string]seen{}}
		known := false // the gateway took a token, or wanted none
		for wait := firstWait; ; {
			heard, err := s.connection(ctx)
			known = known || heard
			switch {
			case ctx.Err() != nil || errors.Is(err, errEnough):
				return
			case final(err, known):
				yield(Event{}, err)
				return
			case !yield(Event{Lost: err}, nil):
				return
			}
			if heard {
				wait = firstWait
			}
			on := true
			if errors.Is(err, ErrToken) {
				on = c.awaitToken(ctx, s.token, heard, wait)
			} else {
				on = sleep(ctx, pause(wait, err))
			}
			if !on {
				return
			}
			wait = min(2*wait, longWait)
		}
	}
}

// errEnough ends a connection: the loop over the scenes was left.
var errEnough = errors.New("enough")

// final tells a refusal from a failure. known says that the gateway was heard before: then another token may come.
func final(err error, known bool) bool {
	if errors.Is(err, ErrToken) {
		return !known
	}
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Status >= 200 && p.Status < 500 && p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
	}
	return errors.Is(err, ErrRefused)
}

// pause is how long to wait after a failure: what fails for many at once is not tried again by all of them at once.
func pause(wait time.Duration, err error) time.Duration {
	var p *api.Problem
	if errors.As(err, &p) && p.RetryAfter > wait {
		return p.RetryAfter + rand.N(p.RetryAfter/2)
	}
	if websocket.CloseStatus(err) == websocket.StatusServiceRestart {
		return rand.N(3 * time.Second) // as the gateway asks
	}
	return wait/2 + rand.N(wait)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// stream is what goes on over connections.
type stream struct {
	client  *Client
	watch   api.Watch
	token   string // that was sent last
	yield   func(Event, error) bool
	seen    map[string]seen // by source
	dropped uint64          // over the connections before this one
	last    uint64          // over this one
}

// seen is the newest of a source.
type seen struct {
	session  string
	seq      uint64
	captured time.Time
	pictured bool
	mapOf    uint64           // seq of the newest map yielded
	depth    *api.DepthHeader // newer than that; it goes with the next scene
}

// connection yields what one connection brings. heard says that it brought something. errEnough is returned when no more is
// wanted.
func (s *stream) connection(ctx context.Context) (heard bool, err error) {
	s.token, err = s.client.token()
	if err != nil {
		return false, err
	}
	conn, err := s.client.open(ctx, s.token, s.watch)
	if err != nil {
		return false, err
	}
	defer conn.CloseNow()
	s.dropped, s.last = s.dropped+s.last, 0
	reads := &reads{conn: conn}
	alive, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); reads.watch(alive) }()
	defer func() { stop(); <-watched }()
	for {
		kind, data, err := reads.next(ctx)
		if err != nil {
			return heard, refusal(err)
		}
		event := Event{}
		if kind == websocket.MessageText {
			event.Status, err = api.ParseStatus(data)
		} else if event.Scene, err = api.ParseMessage(data); err == nil && !s.fresh(event.Scene) {
			heard = true
			continue
		}
		if err != nil {
			return heard, err
		}
		heard = true
		if !s.yield(event, nil) {
			_ = conn.Close(websocket.StatusNormalClosure, "") // the gateway may be gone already
			return heard, errEnough
		}
	}
}

func refusal(err error) error {
	var end websocket.CloseError
	if !errors.As(err, &end) {
		return err
	}
	if end.Code == websocket.StatusPolicyViolation {
		return fmt.Errorf("%w: %s", ErrRefused, api.Printable(end.Reason))
	}
	if no := closed(end); no != nil {
		return no
	}
	return err
}

// open connects and says what is wanted.
func (c *Client) open(ctx context.Context, token string, watch api.Watch) (*websocket.Conn, error) {
	ask, err := json.Marshal(watch)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	options := &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: http.Header{}, CompressionMode: websocket.CompressionDisabled}
	authorize(options.HTTPHeader, token)
	conn, response, err := websocket.Dial(within, c.address("/ws"), options)
	if err != nil {
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, refused(problem(response))
		}
		return nil, err
	}
	conn.SetReadLimit(c.maxMessage)
	if err := conn.Write(within, websocket.MessageText, ask); err != nil {
		conn.CloseNow()
		return nil, err
	}
	return conn, nil
}

// reads takes messages of a connection, and finds out when it is dead.
type reads struct {
	conn   *websocket.Conn
	taken  atomic.Uint64
	taking atomic.Bool
}

func (r *reads) next(ctx context.Context) (websocket.MessageType, []byte, error) {
	r.taking.Store(true)
	kind, data, err := r.conn.Read(ctx)
	r.taking.Store(false)
	r.taken.Add(1)
	return kind, data, err
}

// watch closes the connection when the gateway does not answer. An answer is only seen while a message is waited for.
func (r *reads) watch(ctx context.Context) {
	for sleep(ctx, askEvery) {
		before := r.taken.Load()
		if !r.taking.Load() {
			continue
		}
		within, cancel := context.WithTimeout(ctx, askEvery)
		err := r.conn.Ping(within)
		cancel()
		if err != nil && ctx.Err() == nil && r.taken.Load() == before {
			r.conn.CloseNow()
			return
		}
	}
}

// fresh says whether a scene is to be yielded: none that is as old was, over a connection before. Its drops become those
// since the first connection. The depth map of one that is not yielded goes with the next one: a gateway sends each map
// once.
func (s *stream) fresh(m *api.Message) bool {
	s.last = m.Dropped
	m.Dropped += s.dropped
	was, known := s.seen[m.Frame.Source]
	if was.session != m.Frame.Session {
		was = seen{session: m.Frame.Session}
	}
	if !known && len(s.seen) >= maxSources {
		clear(s.seen)
	}
	pictured := m.Frame.Seq == was.seq && !was.pictured && len(m.Picture) > 0
	if m.Frame.Seq <= was.seq && !m.Captured.After(was.captured) && !pictured { // a run that begins anew counts from 1 again, later
		if m.Depth != nil && m.Depth.Seq > was.mapOf && m.Depth.Bytes <= maxKept {
			was.depth = m.Depth
			was.depth.Data = bytes.Clone(m.Depth.Data) // not the whole message
			s.seen[m.Frame.Source] = was
		}
		return false
	}
	if m.Depth == nil {
		m.Depth = was.depth
	}
	if m.Depth != nil {
		was.mapOf = m.Depth.Seq
	}
	was.seq, was.captured, was.pictured, was.depth = m.Frame.Seq, m.Captured, len(m.Picture) > 0, nil
	s.seen[m.Frame.Source] = was
	return true
}
