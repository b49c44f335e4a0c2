package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/clock"
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
	v := newViewer()
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
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil { // answered by Accept
		s.metrics.refuse(doorWS, reasonHandshake)
		s.env.Log.Debug("viewer refused", "error", err)
		return nil
	}
	conn.SetReadLimit(MaxWatchBytes)
	if err := s.view(ctx, conn, v); err != nil {
		s.env.Log.Debug("viewer left", "error", err)
	}
	return nil
}

// view serves one viewer until it leaves, breaks a rule, or ctx ends.
func (s *Server) view(ctx context.Context, conn *websocket.Conn, v *viewer) error {
	// Ending open would tear the connection; ctx only begins the closing handshake.
	open, tear := context.WithCancel(context.WithoutCancel(ctx))
	defer tear()
	watched := make(chan struct{})
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return s.readWatches(open, conn, v, watched) })
	tasks.Go(func() error { return s.awaitWatch(ctx, watched) })
	tasks.Go(func() error { return s.write(ctx, open, conn, v) })
	tasks.Go(func() error { return s.ping(ctx, open, conn) })
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
		s.hub.follow(v, watch.Sources)
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

// ping asks every so often whether the viewer still answers. The first time is anywhere within that, lest viewers that
// came together, as all do after a restart, be pinged together, which the others' scenes would have to wait for.
func (s *Server) ping(ctx, open context.Context, conn *websocket.Conn) error {
	timer := time.NewTimer(rand.N(s.cfg.PingEvery))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(s.cfg.PingEvery)
		}
		within, cancel := context.WithTimeout(open, s.cfg.WriteTimeout)
		err := conn.Ping(within)
		cancel()
		if err != nil {
			return fmt.Errorf("ping viewer: %w", err)
		}
	}
}

// write sends what the viewer's slots hold, and a status every second, until ctx ends. The first status is anywhere within
// that, as the first ping is.
func (s *Server) write(ctx, open context.Context, conn *websocket.Conn, v *viewer) error {
	var header bytes.Buffer
	status := time.NewTimer(rand.N(statusEvery))
	defer status.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-status.C:
			status.Reset(statusEvery)
			message, err := s.hub.statusMessage()
			if err != nil {
				return err
			}
			v.offerStatus(message)
		case <-v.wake:
		}
		p, ok := v.take()
		if !ok {
			continue
		}
		within, cancel := context.WithTimeout(open, s.cfg.WriteTimeout)
		err := s.send(within, conn, p, &header)
		cancel()
		if err != nil {
			if p.scene != nil {
				s.metrics.drop(reasonTimeout)
			}
			return fmt.Errorf("write to viewer: %w", err)
		}
	}
}

// send writes a status, then a scene; header is a buffer to use.
func (s *Server) send(ctx context.Context, conn *websocket.Conn, p parcel, header *bytes.Buffer) error {
	if p.status != nil {
		if err := conn.Write(ctx, websocket.MessageText, p.status); err != nil {
			return err
		}
		s.metrics.bytes.Add(float64(len(p.status)))
	}
	if p.scene == nil {
		return nil
	}
	var picture, depth []byte
	if p.scene.frame != nil {
		var err error
		if picture, err = p.scene.frame.picture(); err != nil {
			s.metrics.refuse(doorFrames, reasonMalformed)
		}
	}
	if p.depth != nil {
		depth = p.depth.packed.Data
	}
	latency, err := encodeHeader(header, p, len(picture))
	if err != nil {
		return err
	}
	if err := writeParts(ctx, conn, header.Bytes(), picture, depth); err != nil {
		return err
	}
	s.metrics.bytes.Add(float64(header.Len() + len(picture) + len(depth)))
	s.metrics.scenes.Inc()
	s.metrics.sent.Add(1)
	if !p.stale {
		s.metrics.endToEnd.Observe(latency.Seconds())
	}
	return nil
}

// encodeHeader writes the length and the JSON of a scene's header. latency is the time since the capture.
func encodeHeader(dst *bytes.Buffer, p parcel, pictureBytes int) (latency time.Duration, err error) {
	header := api.SceneHeader{
		Type: "scene", Scene: p.scene.json, Mode: p.scene.scene.Mode,
		PictureBytes: pictureBytes, Dropped: p.dropped,
	}
	if p.depth != nil {
		header.Depth = &api.DepthHeader{Map: *p.depth.packed, Seq: p.depth.seq, Bytes: len(p.depth.packed.Data), Range: p.depth.stable}
	}
	latency = max(time.Since(p.scene.json.Captured), 0)
	if !p.stale {
		ms := float64(latency.Microseconds()) / 1000
		header.LatencyMS = &ms
	}
	dst.Reset()
	dst.Write(make([]byte, 4))
	if err := json.NewEncoder(dst).Encode(header); err != nil {
		return 0, fmt.Errorf("encode the header of %s: %w", header.Frame, err)
	}
	dst.Truncate(dst.Len() - 1) // Encode's newline
	binary.LittleEndian.PutUint32(dst.Bytes(), uint32(dst.Len()-4))
	return latency, nil
}

// writeParts writes one binary message without joining its parts in memory.
func writeParts(ctx context.Context, conn *websocket.Conn, parts ...[]byte) error {
	w, err := conn.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}
