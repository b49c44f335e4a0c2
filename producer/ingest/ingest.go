// Package ingest makes live sources of the pictures that anyone publishes to ingest.<source>.
package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/owner"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const (
	prefix         = "ingest."
	queued         = 64               // messages that may wait to be looked at; what comes beyond is lost, and counted
	leaseName      = "ingest"         // who takes them: two would admit everything twice
	silence        = time.Minute      // after which a source makes room for another
	forgetAfter    = 10 * time.Minute // of silence: a source is forgotten
	retryElsewhere = "this producer takes ingest no more: publish again"
	skippedWaited  = "waited"               // no group took it in time
	waitedMost     = 2 * time.Second        // that the newest picture of an ingest source waits for a group
	refusals       = "ingest"               // of spatialflow_refused_total
	leaseEvery     = time.Second            // ask for it
	lookEvery      = 250 * time.Millisecond // for pictures that wait too long, and messages that were lost
	callTimeout    = 2 * time.Second        // of one question to NATS
	codeBad        = 400                    // of an answer: the message is to blame
	codeBusy       = 503                    // of an answer: it was not taken
)

// errRefused is returned when a message is no picture of a source: it says why.
var errRefused = errors.New("refused")

// errFull is returned when there is no room for one more source now.
var errFull = errors.New("full")

// door takes the pictures that anyone publishes to ingest.<source>. Each source is a live one, from its first message
// on. One goroutine runs it.
type door struct {
	cfg       Config
	env       service.Env
	board     *account.Board
	admission *live.Admission
	metrics   account.Metrics
	refused   *prometheus.CounterVec
	intake    source.Intake
	lease     *bus.Lease // while it takes messages
	sources   map[string]*ingested
}

// ingested is one source, for as long as it is not silent.
type ingested struct {
	live  *live.Source
	row   *account.Row
	heard time.Time
}

// Config is how ingested pictures are made frames.
type Config struct {
	Settings source.Settings
	Live     live.Config
	Sources  int // that are ingested at once
}

// Run takes messages while it has the lease, until ctx ends: of several producers one does.
func Run(ctx context.Context, cfg Config, env service.Env, board *account.Board, admission *live.Admission, m account.Metrics) error {
	cfg.Settings.Mode = flow.ModeLive
	cfg.Live.Frames = 0
	g := &door{
		cfg: cfg, env: env, board: board, admission: admission, metrics: m, refused: telemetry.NewRefused(env.Metrics),
		intake: source.Intake{Settings: cfg.Settings}, sources: map[string]*ingested{},
	}
	return g.run(ctx)
}

func (g *door) run(ctx context.Context) error {
	holder := ulid.Make().String()
	for told := false; ctx.Err() == nil; clock.Sleep(ctx, leaseEvery/2+rand.N(leaseEvery)) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		lease, err := g.env.Bus.Lease(call, leaseName, holder)
		cancel()
		if err == nil {
			told = false
			err = g.own(ctx, lease)
		}
		if err != nil && ctx.Err() == nil && !told {
			level := slog.LevelWarn
			if errors.Is(err, bus.ErrLeaseTaken) {
				level = slog.LevelInfo // another producer does it
			}
			g.env.Log.Log(ctx, level, "not taking ingest", "reason", err)
			told = true
		}
	}
	return nil
}

// own takes messages until ctx ends, or the lease does.
func (g *door) own(ctx context.Context, lease *bus.Lease) error {
	g.lease = lease
	tasks, holding := errgroup.WithContext(ctx)
	holding, stop := context.WithCancel(holding)
	defer stop()
	queue := make(chan *nats.Msg, queued)
	sub, err := g.env.Bus.Conn().ChanSubscribe(g.env.Bus.Subject(prefix+">"), queue)
	if err != nil {
		return fmt.Errorf("subscribe to ingest: %w", err)
	}
	tasks.Go(func() error { return lease.Keep(holding) })
	tasks.Go(func() error {
		defer stop()
		g.handleAll(holding, lease, queue, sub)
		if err := sub.Unsubscribe(); err != nil {
			g.env.Log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
		}
		refuseAll(queue)
		return nil
	})
	err = tasks.Wait()
	lost := errors.Is(err, bus.ErrLeaseLost)
	g.close(lost)
	if lost {
		return err
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if e := lease.Release(call); e != nil {
		g.env.Log.Debug("lease ends by itself", "error", e)
	}
	return err
}

// refuseAll answers what is in the queue.
func refuseAll(queue <-chan *nats.Msg) {
	for {
		select {
		case msg := <-queue:
			respond(msg, nil, codeBusy, retryElsewhere)
		default:
			return
		}
	}
}

func (g *door) handleAll(ctx context.Context, lease *bus.Lease, queue <-chan *nats.Msg, sub *nats.Subscription) {
	lost := 0
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-queue:
			if !lease.Held() { // this process slept: another may have the lease
				respond(msg, nil, codeBusy, retryElsewhere)
				continue
			}
			if err := g.handle(msg); err != nil {
				g.turnAway(msg, err)
			}
		case <-ticker.C:
			if n, err := sub.Dropped(); err == nil && n > lost {
				g.refused.WithLabelValues(refusals, "full").Add(float64(n - lost))
				lost = n
			}
			for _, s := range g.sources {
				s.live.SkipWaiting(waitedMost, skippedWaited)
			}
			g.forget(forgetAfter)
		}
	}
}

// turnAway answers a message that was not taken, whatever is to blame, and counts it.
func (g *door) turnAway(msg *nats.Msg, err error) {
	if errors.Is(err, errRefused) {
		g.refuse(msg, err)
		return
	}
	g.refused.WithLabelValues(refusals, "busy").Inc()
	g.env.Log.Warn("ingest not taken", "subject", msg.Subject, "error", err)
	respond(msg, nil, codeBusy, err.Error())
}

// refuse answers a message that is to blame itself, and counts it.
func (g *door) refuse(msg *nats.Msg, err error) {
	g.refused.WithLabelValues(refusals, "malformed").Inc()
	g.env.Log.Warn("ingest refused", "subject", msg.Subject, "error", err)
	respond(msg, nil, codeBad, err.Error())
}

// handle offers one message's picture for admission; its sender is answered when that is decided. What takes time is left to the
// goroutine of its source. [errRefused] is returned when the message is to blame; after any other error it may be sent again.
func (g *door) handle(msg *nats.Msg) error {
	name := strings.TrimPrefix(g.env.Bus.Plain(msg.Subject), prefix)
	if err := flow.ValidToken("source", name); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if strings.HasPrefix(name, flow.PredictPrefix) {
		return fmt.Errorf("%w: sources that begin with %s are the gateways'", errRefused, flow.PredictPrefix)
	}
	p := source.Picture{Captured: time.Now().UTC()}
	data, err := ingestPicture(name, msg.Data, &p)
	if err != nil {
		return err
	}
	if err := g.intake.Fill(&p, data); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	s, err := g.source(name)
	if err != nil {
		return err
	}
	p.Answered = func(ack *jetstream.PubAck, skipped string) {
		if why, broken := strings.CutPrefix(skipped, live.SkippedBroken+": "); broken {
			g.refuse(msg, fmt.Errorf("%w: %s", errRefused, why))
			return
		}
		respond(msg, ack, codeBusy, "skipped: "+skipped)
	}
	s.heard = time.Now()
	s.live.Received(p)
	return nil
}

// ingestPicture is the picture in a message: the message itself, or that of a msgpack Frame, whose capture time counts
// unless it is still to come.
func ingestPicture(name string, data []byte, p *source.Picture) ([]byte, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: an empty message", errRefused)
	}
	isMap := data[0]&0xf0 == 0x80 || data[0] == 0xde || data[0] == 0xdf
	if !isMap || bytes.HasPrefix(data, []byte("\x89PNG")) { // which begins as a map of nine would
		return data, nil
	}
	var frame flow.Frame
	if err := flow.Decode(data, &frame); err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	switch {
	case frame.Version < 1 || frame.Version > flow.Wire:
		return nil, fmt.Errorf("%w: frame version %d (key v), this reader knows 1 to %d", errRefused, frame.Version, flow.Wire)
	case frame.Source != "" && frame.Source != name:
		return nil, fmt.Errorf("%w: a frame of source %.80q (key src) on the subject of %q", errRefused, frame.Source, name)
	case len(frame.Picture) == 0:
		return nil, fmt.Errorf("%w: a frame without a picture (key pic)", errRefused)
	}
	if unit := otherUnit(frame.Captured); unit != "" {
		return nil, fmt.Errorf("%w: capture time %d (key cap) looks like %s: it is nanoseconds since 1970", errRefused, frame.Captured, unit)
	}
	// A later one is that of a wrong clock, and would make all that follows look late; so is one of a clock that was never set.
	if captured := time.Unix(0, frame.Captured).UTC(); captured.After(earliest) && captured.Before(p.Captured) {
		p.Captured = captured
	}
	p.File = flow.FileName(frame.File)
	return frame.Picture, nil
}

// earliest and latest are what capture times are expected between, in whatever unit.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// otherUnit is the unit in which a capture time would be one of this century, when that is not nanoseconds.
func otherUnit(captured int64) string {
	for unit, name := range map[time.Duration]string{time.Second: "seconds", time.Millisecond: "milliseconds", time.Microsecond: "microseconds"} {
		if captured >= earliest.UnixNano()/int64(unit) && captured < latest.UnixNano()/int64(unit) {
			return name
		}
	}
	return ""
}

// source finds or makes a source. [errRefused] is returned when another reads one of that name; any other error is over some time:
// there are too many that are not silent, or NATS does not say whether another has the name.
func (g *door) source(name string) (*ingested, error) {
	if s := g.sources[name]; s != nil {
		return s, nil
	}
	if len(g.sources) >= g.cfg.Sources && !g.forget(silence) {
		return nil, fmt.Errorf("%w: %d sources are ingested already", errFull, len(g.sources))
	}
	call, cancel := context.WithTimeout(context.Background(), callTimeout)
	holder, err := g.env.Bus.LeaseHolder(call, owner.LeaseName(name))
	cancel()
	switch {
	case err == nil:
		return nil, fmt.Errorf("%w: the source %q is read by %s", errRefused, name, holder)
	case !errors.Is(err, bus.ErrNotFound):
		return nil, fmt.Errorf("who reads the source %q is not known: %w", name, err)
	}
	spec := source.Spec{Name: name, URI: prefix + name, Settings: g.cfg.Settings}
	row := g.board.AddLater(spec.Status(), "")
	if row == nil {
		return nil, fmt.Errorf("%w: the source %q is read from elsewhere", errRefused, name)
	}
	s := live.New(spec, row, g.cfg.Live, g.env, g.admission, g.metrics, g.lease.Held)
	if err := s.Begin(); err != nil {
		g.board.Remove(row)
		return nil, err
	}
	s.BeginSession(0)
	made := &ingested{live: s, row: row}
	g.sources[name] = made
	g.env.Log.Info("ingesting", "source", name)
	return made, nil
}

// forget drops the source that is silent longest, with all that is kept of it, if it is so for long and nothing of it is
// under way.
func (g *door) forget(silent time.Duration) bool {
	oldest := ""
	for name, s := range g.sources {
		idle := time.Since(s.heard) > silent && s.live.Idle()
		if idle && (oldest == "" || s.heard.Before(g.sources[oldest].heard)) {
			oldest = name
		}
	}
	if oldest == "" {
		return false
	}
	gone := g.sources[oldest]
	delete(g.sources, oldest)
	gone.live.End(context.Background()) // nothing is under way
	g.board.Remove(gone.row)
	g.metrics.Forget(oldest)
	return true
}

// close ends all sources: what is under way has the time of a stop. They stay on the board, unless they are another producer's
// now, which lets nothing of this one's be admitted.
func (g *door) close(lost bool) {
	work, cancel := context.WithTimeout(context.Background(), g.cfg.Live.Drain)
	defer cancel()
	if lost {
		cancel()
	}
	var ends sync.WaitGroup
	for name, s := range g.sources {
		ends.Go(func() { s.live.End(work) })
		delete(g.sources, name)
		if !lost {
			defer s.row.Stopped()
			continue
		}
		defer g.metrics.Forget(name)
		defer g.board.Remove(s.row)
	}
	ends.Wait()
}

// respond answers as JetStream does, so that js.Publish and nats req understand it:
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-1.md
func respond(msg *nats.Msg, ack *jetstream.PubAck, code int, reason string) {
	if !bus.IsInbox(msg.Reply) {
		return
	}
	var answer struct {
		*jetstream.PubAck
		Error *jetstream.APIError `json:"error,omitempty"`
	}
	if answer.PubAck = ack; ack == nil {
		answer.Error = &jetstream.APIError{Code: code, Description: reason}
	}
	data, err := json.Marshal(answer)
	if err == nil {
		_ = msg.Respond(data) // whoever asked is gone, or waits in vain
	}
}
