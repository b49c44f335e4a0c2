package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/gateway/live/pace"
	"github.com/spatial-flow/spatial-flow/gateway/live/socket"
)

const (
	closeWithin = 2 * time.Second       // bounds the closing handshake with a viewer
	watchEvery  = 50 * time.Millisecond // a viewer that changes its mind more often waits
)

// ServeViewer serves one viewer on a websocket until ctx ends; whose page it is is the caller's to ask. [ErrFull] is returned, and
// nothing answered, when there are as many viewers as there may be, and [ErrUpgrade] when no websocket is asked for.
func (s *Server) ServeViewer(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	s.serving.Add(1)
	defer s.serving.Done()
	log := s.env.Log.With("request_id", w.Header().Get("X-Request-Id"))
	v := newViewer(s.cfg.ViewerBytes)
	if !s.hub.join(v) {
		s.metrics.refuse(doorWS, reasonFull)
		return fmt.Errorf("%w: there are %d already", ErrFull, s.cfg.MaxViewers)
	}
	defer s.hub.leave(v)
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		s.metrics.refuse(doorWS, reasonHandshake)
		return ErrUpgrade
	}
	// InsecureSkipVerify: the origin is the caller's to check.
	options := &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled}
	conn, out, err := socket.Accept(w, r, options, s.cfg.WriteTimeout)
	if err != nil { // answered by Accept
		s.metrics.refuse(doorWS, reasonHandshake)
		log.Debug("viewer refused", "error", err)
		return nil
	}
	conn.SetReadLimit(MaxWatchBytes)
	if err := s.view(ctx, conn, out, v); err != nil {
		log.Debug("viewer left", "error", err)
	}
	return nil
}

// view serves one viewer until it leaves, breaks a rule, or ctx ends.
func (s *Server) view(ctx context.Context, conn *websocket.Conn, out *socket.Socket, v *viewer) error {
	// Ending open would tear the connection; ctx only begins the closing handshake.
	open, tear := context.WithCancel(context.WithoutCancel(ctx))
	defer tear()
	watched := make(chan struct{})
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return s.readWatches(open, conn, v, watched) })
	tasks.Go(func() error { return s.awaitWatch(ctx, watched) })
	tasks.Go(func() error { return s.write(ctx, out, v) })
	tasks.Go(func() error { return s.ping(ctx, open, conn, out) })
	tasks.Go(func() error {
		<-ctx.Done()
		defer time.AfterFunc(closeWithin, tear).Stop()
		code, reason := closeCode(context.Cause(ctx))
		_ = conn.Close(code, reason) // fails when the viewer is gone: nothing to do about that
		tear()
		return nil
	})
	return tasks.Wait()
}

// closeCode is what a viewer is told about the end.
func closeCode(cause error) (websocket.StatusCode, string) {
	switch {
	case errors.Is(cause, ErrWatch), errors.Is(cause, ErrNoWatch):
		reason := cause.Error()
		return websocket.StatusPolicyViolation, reason[:min(len(reason), 120)]
	case errors.Is(cause, context.Canceled):
		return websocket.StatusServiceRestart, "the gateway restarts: connect again after a random time of 0 to 3 s"
	default:
		return websocket.StatusGoingAway, ""
	}
}

// readWatches reads what the viewer wants to watch. Reading also answers pings and the closing handshake.
func (s *Server) readWatches(open context.Context, conn *websocket.Conn, v *viewer, watched chan<- struct{}) error {
	for first := true; ; first = false {
		kind, data, err := conn.Read(open)
		if err != nil {
			return fmt.Errorf("read from viewer: %w", err)
		}
		watch, err := parseWatch(data, s.cfg.MaxWatched)
		if err == nil && kind != websocket.MessageText {
			err = fmt.Errorf("%w: not text", ErrWatch)
		}
		if err != nil {
			s.metrics.refuse(doorWS, reasonMalformed)
			return err
		}
		v.hold()
		v.want(wantsOf(watch))
		s.hub.follow(v, watch.Sources)
		s.watching.await(open) // so that it has the pictures of what comes from now on
		v.tellStatus()
		if first {
			close(watched)
		}
		clock.Sleep(open, watchEvery)
	}
}

// awaitWatch returns [ErrNoWatch] when the viewer does not say in time what it wants.
func (s *Server) awaitWatch(ctx context.Context, watched <-chan struct{}) error {
	timer := time.NewTimer(s.cfg.WatchWithin)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-watched:
	case <-timer.C:
		s.metrics.refuse(doorWS, reasonNoWatch)
		return fmt.Errorf("%w within %v", ErrNoWatch, s.cfg.WatchWithin)
	}
	return nil
}

// ping asks every so often whether the viewer still answers, unless something is written to it, which it has to take. The first time
// is anywhere within that, lest viewers that came together, as all do after a restart, be pinged together, which the others' scenes
// would have to wait for.
func (s *Server) ping(ctx, open context.Context, conn *websocket.Conn, out *socket.Socket) error {
	timer := time.NewTimer(rand.N(s.cfg.PingEvery))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(s.cfg.PingEvery)
		}
		if out.Busy() {
			continue
		}
		within, cancel := context.WithTimeout(open, s.cfg.WriteTimeout)
		err := conn.Ping(within)
		cancel()
		if err != nil {
			return fmt.Errorf("ping viewer: %w", err)
		}
	}
}

// writer writes to one viewer.
type writer struct {
	s     *Server
	out   *socket.Socket
	v     *viewer
	clock *time.Timer // it has to be looked at the status
	told  told
	pace  pace.Pace
	tail  []byte // of a header; a buffer to use
}

// write sends what the viewer's slots hold, and what it has to be told of the status, until ctx ends. It is looked at every second,
// the first time anywhere within that, as the first ping is.
func (s *Server) write(ctx context.Context, out *socket.Socket, v *viewer) error {
	w := writer{s: s, out: out, v: v, clock: time.NewTimer(rand.N(statusEvery))}
	defer w.clock.Stop()
	due := time.NewTimer(0) // something waits for its time
	defer due.Stop()
	for {
		looked := false
		select {
		case <-ctx.Done():
			return nil
		case <-w.clock.C:
			w.clock.Reset(statusEvery)
			looked = true
		case <-due.C:
		case <-v.wake:
		}
		p, ok := v.take(time.Now())
		if !p.due.IsZero() {
			due.Reset(time.Until(p.due))
		}
		if looked || p.status {
			if err := w.status(p); err != nil {
				return fmt.Errorf("write to viewer: %w", err)
			}
		}
		if !ok || p.scene == nil {
			continue
		}
		if err := w.scene(p); err != nil {
			s.metrics.drop(reasonTimeout)
			return fmt.Errorf("write to viewer: %w", err)
		}
	}
}

// adapted is how wide pictures are for the viewer, because it is slow; 0: as it wants them.
func (w *writer) adapted(p parcel) int {
	if width := w.pace.Width(); p.wants.adapt && width > 0 && (p.wants.width == 0 || width < p.wants.width) {
		return width
	}
	return 0
}

// status writes a status, unless the viewer knows it all and the parcel asks for none.
func (w *writer) status(p parcel) error {
	says, err := w.s.hub.board.read()
	if err != nil {
		return err
	}
	message := w.told.status(says, w.v.watching(), w.adapted(p), w.s.cfg.MaxWatched, p.status, time.Now())
	if message == nil {
		return nil
	}
	if err := w.out.Send(websocket.MessageText, 0, message); err != nil {
		return err
	}
	w.s.metrics.bytes.Add(float64(len(message)))
	return nil
}

// scene writes a scene, as the viewer wants it and its link bears it.
func (w *writer) scene(p parcel) error {
	width := p.wants.width
	if adapted := w.adapted(p); adapted > 0 {
		width = adapted
	}
	picture, depth, err := w.sized(p, width)
	if err != nil {
		return err
	}
	var data []byte
	if depth != nil {
		data = depth.packed.Data
	}
	head, err := p.scene.head()
	if err != nil {
		return err
	}
	latency := p.scene.latency()
	if w.tail, err = p.appendTail(w.tail[:0], len(picture), depth, latency); err != nil {
		return err
	}
	began := time.Now()
	if err := w.out.Send(websocket.MessageBinary, p.wants.part, headerLength(head, w.tail), head, w.tail, picture, data); err != nil {
		return err
	}
	now := time.Now()
	sent := 4 + len(head) + len(w.tail) + len(picture) + len(data)
	w.pace.Wrote(now, max(now.Sub(began), w.v.spend(sent, now)))
	w.s.metrics.bytes.Add(float64(sent))
	w.s.metrics.scenes.Inc()
	w.s.metrics.sent.Add(1)
	if !p.stale {
		w.s.metrics.endToEnd.Observe(latency.Seconds())
	}
	return nil
}

// sized is a scene's picture and depth map, at most so wide. While others have their turn at making theirs smaller the viewer is told
// the status, and thus that the connection lives.
func (w *writer) sized(p parcel, width int) (picture []byte, depth *depthMap, err error) {
	get := func() {
		if p.scene.frame != nil {
			var malformed error
			if picture, malformed = p.scene.frame.sized(width, w.s.smaller); malformed != nil {
				w.s.metrics.refuse(doorFrames, reasonMalformed)
			}
		}
		if p.depth != nil {
			depth = p.depth.sized(width, w.s.smaller)
		}
	}
	if width == 0 {
		get()
		return picture, depth, nil
	}
	made := make(chan struct{})
	go func() { defer close(made); get() }()
	for {
		select {
		case <-made:
			return picture, depth, err
		case <-w.clock.C:
			w.clock.Reset(statusEvery)
			if err == nil {
				err = w.status(p)
			}
		}
	}
}
