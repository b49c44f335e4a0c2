package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/live/pace"
	"github.com/spatial-flow/spatial-flow/gateway/live/socket"
)

const (
	closeWithin = 2 * time.Second       // bounds the closing handshake with a viewer
	watchEvery  = 50 * time.Millisecond // a viewer that changes its mind more often waits
)

// ServeViewer serves one viewer on a websocket until ctx ends; whose page it is is the caller's to ask. Who it is that may view is known,
// or is said by its first message (nil). [ErrFull] is returned, and nothing answered, when there are as many viewers as there may be, and
// [ErrUpgrade] when no websocket is asked for.
func (s *Server) ServeViewer(ctx context.Context, w http.ResponseWriter, r *http.Request, who *access.Caller) error {
	s.serving.Add(1)
	defer s.serving.Done()
	log := s.env.Log.With("request_id", w.Header().Get("X-Request-Id"))
	g := &guest{viewer: newViewer(who, s.cfg.ViewerBytes), request: r, named: who != nil || s.gate == nil, watched: make(chan struct{})}
	if !g.named {
		g.viewer.become(access.Nobody())
	}
	if !g.named && s.hub.full() || g.named && !s.hub.join(g.viewer) {
		s.metrics.refuse(doorWS, reasonFull)
		return fmt.Errorf("%w: there are %d already", ErrFull, s.cfg.MaxViewers)
	}
	defer s.hub.leave(g.viewer)
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
	if err := s.view(ctx, conn, out, g); err != nil {
		log.Debug("viewer left", "error", err)
	}
	return nil
}

// guest is a viewer that comes by a websocket.
type guest struct {
	viewer  *viewer
	request *http.Request
	named   bool          // its caller is known; of readWatches alone
	watched chan struct{} // closed once it has said what it watches: nothing is sent before
}

// view serves one viewer until it leaves, breaks a rule, or ctx ends.
func (s *Server) view(ctx context.Context, conn *websocket.Conn, out *socket.Socket, g *guest) error {
	// Ending open would tear the connection; ctx only begins the closing handshake.
	open, tear := context.WithCancel(context.WithoutCancel(ctx))
	defer tear()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	named := func() {}
	if !g.named {
		named = sync.OnceFunc(s.lobby.Enter(s.gate.Address(g.request), end))
	}
	defer named()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return s.readWatches(open, conn, g, named) })
	tasks.Go(func() error { return s.awaitWatch(ctx, g.watched) })
	tasks.Go(func() error { return s.write(ctx, out, g) })
	tasks.Go(func() error { return s.keep(ctx, g) })
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

// name takes the caller of a viewer from its first message, and makes room for it. An [access.Refusal] is returned when it may not view,
// and [ErrFull] when there is none.
func (s *Server) name(open context.Context, g *guest, token string) error {
	if g.named {
		return nil
	}
	who, err := s.gate.Token(open, token, g.request)
	if err == nil {
		err = s.gate.Enter(who, access.View)
	}
	if err != nil {
		return err
	}
	g.viewer.become(who)
	if !s.hub.join(g.viewer) {
		s.metrics.refuse(doorWS, reasonFull)
		return fmt.Errorf("%w: there are %d already", ErrFull, s.cfg.MaxViewers)
	}
	g.named = true
	return nil
}

// keep has the viewer see what its caller's token says, as that changes, until ctx ends. An [access.Refusal] is returned when it may not
// view any more.
func (s *Server) keep(ctx context.Context, g *guest) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.watched:
	}
	for {
		who := g.viewer.caller()
		select {
		case <-ctx.Done():
			return nil
		case <-who.Done():
		}
		who, err := s.gate.Again(who)
		if err == nil {
			err = s.gate.Enter(who, access.View)
		}
		if err != nil {
			return err
		}
		s.hub.become(g.viewer, who)
		g.viewer.tellStatus()
	}
}

// closeCode is what a viewer is told about the end.
func closeCode(cause error) (websocket.StatusCode, string) {
	var no access.Refusal
	switch {
	case errors.As(cause, &no) && no.Code == http.StatusUnauthorized:
		return statusUnauthorized, short(no.Reason + ": " + no.Text)
	case errors.As(cause, &no) && no.Code == http.StatusForbidden:
		return statusForbidden, short(no.Reason + ": " + no.Text)
	case errors.As(cause, &no):
		return websocket.StatusTryAgainLater, short(no.Reason + ": " + no.Text)
	case errors.Is(cause, ErrFull):
		return websocket.StatusTryAgainLater, short(cause.Error())
	case errors.Is(cause, ErrWatch), errors.Is(cause, ErrNoWatch):
		return websocket.StatusPolicyViolation, short(cause.Error())
	case errors.Is(cause, context.Canceled):
		return websocket.StatusServiceRestart, "the gateway restarts: connect again after a random time of 0 to 3 s"
	default:
		return websocket.StatusGoingAway, ""
	}
}

// Of the registry of close codes (IANA).
const (
	statusUnauthorized websocket.StatusCode = 3000
	statusForbidden    websocket.StatusCode = 3003
)

// short is what fits into a closing frame, which holds 123 bytes.
func short(reason string) string { return strings.ToValidUTF8(reason[:min(len(reason), 120)], "") }

// readWatches reads what the viewer wants to watch. Reading also answers pings and the closing handshake.
func (s *Server) readWatches(open context.Context, conn *websocket.Conn, g *guest, named func()) error {
	v := g.viewer
	for first := true; ; first = false {
		kind, data, err := conn.Read(open)
		if err != nil {
			return fmt.Errorf("read from viewer: %w", err)
		}
		watch, token, err := parseWatch(data, s.cfg.MaxWatched)
		if err == nil && kind != websocket.MessageText {
			err = fmt.Errorf("%w: not text", ErrWatch)
		}
		if err != nil {
			s.metrics.refuse(doorWS, reasonMalformed)
			return err
		}
		if err := s.name(open, g, token); err != nil {
			return err
		}
		named()
		v.hold()
		v.want(wantsOf(watch))
		s.hub.follow(v, watch.Sources)
		s.watching.await(open) // so that it has the pictures of what comes from now on
		v.tellStatus()
		if first {
			close(g.watched)
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

// write sends what the viewer's slots hold, and what it has to be told of the status, from when it watches until ctx ends. It is looked at every second,
// the first time anywhere within that, as the first ping is.
func (s *Server) write(ctx context.Context, out *socket.Socket, g *guest) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.watched:
	}
	v := g.viewer
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
	says, err := w.s.hub.board.read(w.v.caller())
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
