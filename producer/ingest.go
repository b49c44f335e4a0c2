package producer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	flowclock "github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

const (
	ingestPrefix  = "ingest."
	ingestQueue   = 64              // messages that may wait to be looked at; what comes beyond is lost, and counted
	ingestLease   = "ingest"        // who takes them: two would admit everything twice
	ingestSilence = time.Minute     // after which a source makes room for another
	skippedWaited = "waited"        // no group took it in time
	waitedMost    = 2 * time.Second // that the newest picture of an ingest source waits for a group
	doorIngest    = "ingest"        // of spatialflow_refused_total
	codeBad       = 400             // of an answer: the message is to blame
	codeBusy      = 503             // of an answer: it was not taken
)

// errIngest is returned when a message is no picture of a source: it says why.
var errIngest = errors.New("refused")

// ingest takes the pictures that anyone publishes to ingest.<source>. Each source is a live one, from its first message
// on. One goroutine runs it.
type ingest struct {
	cfg       Config
	env       service.Env
	board     *Board
	selection *selection
	metrics   metrics
	refused   *prometheus.CounterVec
	intake    intake
	sources   map[string]*ingested
}

// ingested is one source, for as long as it is not silent.
type ingested struct {
	live  *live
	id    flow.FrameID // of its last picture
	done  *nats.Subscription
	heard time.Time
}

func newIngest(cfg Config, env service.Env, board *Board, s *selection, m metrics) *ingest {
	return &ingest{
		cfg: cfg, env: env, board: board, selection: s, metrics: m, refused: telemetry.NewRefused(env.Metrics),
		intake: intake{cfg.settings()}, sources: map[string]*ingested{},
	}
}

// run takes messages while it has the lease, until ctx ends.
func (g *ingest) run(ctx context.Context) error {
	holder := ulid.Make().String()
	for told := false; ctx.Err() == nil; flowclock.Sleep(ctx, lookEvery) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		lease, err := g.env.Bus.Lease(call, ingestLease, holder)
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
	g.close()
	return nil
}

func (g *ingest) own(ctx context.Context, lease *bus.Lease) error {
	tasks, holding := errgroup.WithContext(ctx)
	holding, stop := context.WithCancel(holding)
	defer stop()
	queue := make(chan *nats.Msg, ingestQueue)
	sub, err := g.env.Bus.Conn().ChanSubscribe(ingestPrefix+">", queue)
	if err != nil {
		return fmt.Errorf("subscribe to ingest: %w", err)
	}
	tasks.Go(func() error { return lease.Keep(holding) })
	tasks.Go(func() error {
		defer stop()
		g.handleAll(holding, queue, sub)
		if err := sub.Unsubscribe(); err != nil {
			g.env.Log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
		}
		return nil
	})
	err = tasks.Wait()
	if errors.Is(err, bus.ErrLeaseLost) {
		return err
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if e := lease.Release(call); e != nil {
		g.env.Log.Debug("lease ends by itself", "error", e)
	}
	return err
}

func (g *ingest) handleAll(ctx context.Context, queue <-chan *nats.Msg, sub *nats.Subscription) {
	lost := 0
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-queue:
			if err := g.handle(msg); err != nil {
				g.refused.WithLabelValues(doorIngest, "malformed").Inc()
				g.env.Log.Warn("ingest refused", "subject", msg.Subject, "error", err)
				respond(msg, nil, codeBad, err.Error())
			}
		case <-ticker.C:
			if n, err := sub.Dropped(); err == nil && n > lost {
				g.refused.WithLabelValues(doorIngest, "full").Add(float64(n - lost))
				lost = n
			}
			for _, s := range g.sources {
				s.live.skipped(s.live.box.empty(waitedMost), skippedWaited)
			}
		}
	}
}

// handle offers one message's picture to the selection; its sender is answered when that is decided.
func (g *ingest) handle(msg *nats.Msg) error {
	name := strings.TrimPrefix(msg.Subject, ingestPrefix)
	if err := flow.ValidToken("source", name); err != nil {
		return fmt.Errorf("%w: %w", errIngest, err)
	}
	if strings.HasPrefix(name, flow.PredictPrefix) {
		return fmt.Errorf("%w: sources that begin with %s are the gateways'", errIngest, flow.PredictPrefix)
	}
	p := picture{captured: time.Now().UTC()}
	data, err := ingestPicture(name, msg.Data, &p)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := g.intake.take(&p, data); err != nil {
		return fmt.Errorf("%w: %w", errIngest, err)
	}
	p.encode = time.Since(begin)
	s, err := g.source(name)
	if err != nil {
		return err
	}
	if msg.Reply != "" {
		p.answered = func(ack *jetstream.PubAck, skipped string) { respond(msg, ack, codeBusy, "skipped: "+skipped) }
	}
	s.id.Seq++
	s.heard = time.Now()
	s.live.metrics.captured.Inc()
	s.live.offer(s.id, p)
	return nil
}

// ingestPicture is the picture in a message: the message itself, or that of a msgpack Frame, whose capture time counts
// unless it is still to come.
func ingestPicture(name string, data []byte, p *picture) ([]byte, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: an empty message", errIngest)
	}
	isMap := data[0]&0xf0 == 0x80 || data[0] == 0xde || data[0] == 0xdf
	if !isMap || bytes.HasPrefix(data, []byte("\x89PNG")) { // which begins as a map of nine would
		return data, nil
	}
	var frame flow.Frame
	if err := flow.Decode(data, &frame); err != nil {
		return nil, fmt.Errorf("%w: %w", errIngest, err)
	}
	switch {
	case frame.Version < 1 || frame.Version > flow.Wire:
		return nil, fmt.Errorf("%w: frame version %d (key v), this reader knows 1 to %d", errIngest, frame.Version, flow.Wire)
	case frame.Source != "" && frame.Source != name:
		return nil, fmt.Errorf("%w: a frame of source %.80q (key src) on the subject of %q", errIngest, frame.Source, name)
	case len(frame.Picture) == 0:
		return nil, fmt.Errorf("%w: a frame without a picture (key pic)", errIngest)
	}
	// A later one is that of a wrong clock, and would make all that follows look late.
	if captured := time.Unix(0, frame.Captured).UTC(); frame.Captured > 0 && captured.Before(p.captured) {
		p.captured = captured
	}
	return frame.Picture, nil
}

// source finds or makes a source. An error is returned when there are too many that are not silent.
func (g *ingest) source(name string) (*ingested, error) {
	if s := g.sources[name]; s != nil {
		return s, nil
	}
	if len(g.sources) >= MaxSources && !g.forget() {
		return nil, fmt.Errorf("%w: %d sources are ingested already", errIngest, len(g.sources))
	}
	s := spec{name: name, uri: ingestPrefix + name, settings: g.cfg.settings()}
	s.settings.mode = flow.ModeLive
	row := g.board.addIngested(s)
	if row == nil {
		return nil, fmt.Errorf("%w: the source %q is read from elsewhere", errIngest, name)
	}
	cfg := g.cfg
	cfg.Frames = 0
	l := newLive(s, row, cfg, g.env, g.selection, g.metrics)
	done, err := g.env.Bus.SubscribeDone("*", name, l.onDone)
	if err != nil {
		g.board.remove(row)
		return nil, err
	}
	status, _ := row.snapshot()
	made := &ingested{live: l, id: flow.FrameID{Source: name, Session: status.Session}, done: done}
	g.sources[name] = made
	g.selection.join(l)
	g.env.Log.Info("ingesting", "source", name, "session", status.Session)
	return made, nil
}

// forget drops the source that is silent longest, if that is long and nothing of it is under way.
func (g *ingest) forget() bool {
	oldest := ""
	for name, s := range g.sources {
		idle := time.Since(s.heard) > ingestSilence && s.live.ledger.snapshot().InFlight == 0
		if idle && (oldest == "" || s.heard.Before(g.sources[oldest].heard)) {
			oldest = name
		}
	}
	if oldest == "" {
		return false
	}
	gone := g.sources[oldest]
	delete(g.sources, oldest)
	g.end(gone)
	g.board.remove(gone.live.row)
	return true
}

func (g *ingest) end(s *ingested) {
	g.selection.leave(s.live)
	if err := s.done.Unsubscribe(); err != nil {
		g.env.Log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
	}
}

// close waits for what is under way of all sources; they stay on the board.
func (g *ingest) close() {
	work, cancel := context.WithTimeout(context.Background(), g.cfg.Drain)
	defer cancel()
	for _, s := range g.sources {
		s.live.skipped(s.live.box.empty(0), skippedEnded)
	}
	for _, s := range g.sources {
		s.live.ledger.wait(work, 1)
		g.end(s)
		s.live.row.stopped()
	}
}

// respond answers as JetStream does, so that js.Publish and nats req understand it:
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-1.md
func respond(msg *nats.Msg, ack *jetstream.PubAck, code int, reason string) {
	if msg.Reply == "" {
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
