package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/live"
)

const (
	lookWithin = 5 * time.Second  // for a picture or a map to come
	keepAlive  = 15 * time.Second // events are not silent for longer, lest somebody between take them for dead
	boundary   = "picture"
)

// errEnough ends following: what was looked for is there.
var errEnough = errors.New("enough")

// wishes are what the address of a picture or a stream asks for.
type wishes struct {
	watch   api.Watch
	overlay bool // the boxes are drawn on the picture
}

// parseWishes takes the parameters that a path has.
func parseWishes(source string, values url.Values, takes ...string) (q wishes, err error) {
	q.watch.Sources = []string{source}
	for key, given := range values {
		last, known := given[len(given)-1], false
		for _, name := range takes {
			known = known || name == key
		}
		switch {
		case !known:
			return q, fmt.Errorf("unknown parameter %.40q: there are %v", key, takes)
		case key == "overlay":
			q.overlay, err = strconv.ParseBool(last)
		case key == "max_fps":
			q.watch.MaxFPS, err = strconv.ParseFloat(last, 64)
		case key == "max_width":
			q.watch.MaxWidth, err = strconv.Atoi(last)
		}
		if err != nil {
			return q, fmt.Errorf("%s %.40q is no value of it", key, last)
		}
	}
	return q, nil
}

// servePicture answers GET /api/v1/sources/{source}/picture.jpg with the newest picture.
func (a *API) servePicture(w http.ResponseWriter, r *http.Request) {
	no := false
	a.serveStill(w, r, []string{"overlay", "max_width"}, &no, func(v live.View, q wishes) (bool, error) {
		picture := v.Picture
		if len(picture) == 0 {
			return false, nil
		}
		if q.overlay {
			drawn, err := v.Boxes()
			if err != nil {
				return false, err
			}
			picture = drawn
		}
		writeStill(w, v.Scene.Frame, "image/jpeg", picture)
		return true, nil
	})
}

// serveDepth answers GET /api/v1/sources/{source}/depth.png with the newest depth map.
func (a *API) serveDepth(w http.ResponseWriter, r *http.Request) {
	yes := true
	a.serveStill(w, r, []string{"max_width"}, &yes, func(v live.View, _ wishes) (bool, error) {
		if v.DepthSeq == 0 {
			return false, nil
		}
		data, read, err := v.Depth()
		if err != nil {
			return false, err
		}
		frame := v.Scene.Frame
		frame.Seq = v.DepthSeq
		writeDepth(w, frame, data, read)
		return true, nil
	})
}

// serveStill waits for a scene that answer can answer with.
func (a *API) serveStill(w http.ResponseWriter, r *http.Request, takes []string, depth *bool, answer func(live.View, wishes) (bool, error)) {
	name := r.PathValue("source")
	q, err := parseWishes(name, r.URL.Query(), takes...)
	if err != nil {
		writeProblem(w, r, http.StatusBadRequest, reasonMalformed, err.Error())
		return
	}
	who := access.From(r.Context())
	if scene, known, names := a.live.Newest(name, who); scene == nil {
		a.noScene(w, r, name, known, names)
		return
	}
	q.watch.Depth = depth
	follower, err := a.live.NewFollower(q.watch, who)
	if err != nil {
		a.writeFollow(w, r, err)
		return
	}
	defer follower.Close()
	held, release := a.gate.Hold(r.Context(), who, name)
	defer release()
	ctx, cancel := context.WithTimeout(held, lookWithin)
	defer cancel()
	err = follower.Follow(ctx, func(v live.View) (int, error) {
		if answered, err := answer(v, q); err != nil || !answered {
			return 0, err
		}
		return 1, errEnough
	})
	switch {
	case errors.Is(err, errEnough):
	case err != nil:
		a.writeFollow(w, r, err)
	case access.Denied(held) != nil:
		writeDenied(w, r, access.Denied(held))
	default:
		writeProblem(w, r, http.StatusNotFound, reasonNothing, fmt.Sprintf("nothing of source %s came within %v: pictures are gone once their scenes are made, and maps come of sources with a depth group", name, lookWithin))
	}
}

// writeFollow answers that a source can't be followed.
func (a *API) writeFollow(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, live.ErrFull):
		w.Header().Set("Retry-After", "5")
		writeProblem(w, r, http.StatusServiceUnavailable, reasonFull, err.Error())
	case errors.Is(err, live.ErrWatch):
		writeProblem(w, r, http.StatusBadRequest, reasonMalformed, err.Error())
	default:
		writeProblem(w, r, http.StatusUnprocessableEntity, reasonPicture, err.Error())
	}
}

// stream answers with what send makes of each scene, until the caller leaves or is too slow, or serving ends.
func (a *API) stream(serving context.Context, begin func(r *http.Request, q wishes) (kind string, send func(*stream, live.View) (int, error))) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("source")
		q, err := parseWishes(name, r.URL.Query(), "overlay", "max_fps", "max_width")
		if err != nil {
			writeProblem(w, r, http.StatusBadRequest, reasonMalformed, err.Error())
			return
		}
		kind, send := begin(r, q)
		if send == nil {
			writeProblem(w, r, http.StatusNotAcceptable, reasonKind, "scenes come as application/x-ndjson or text/event-stream")
			return
		}
		who := access.From(r.Context())
		if _, known, names := a.live.Newest(name, who); !known {
			a.noScene(w, r, name, known, names)
			return
		}
		no := false
		q.watch.Depth = &no
		follower, err := a.live.NewFollower(q.watch, who)
		if err != nil {
			a.writeFollow(w, r, err)
			return
		}
		defer follower.Close()
		held, release := a.gate.Hold(r.Context(), who, name)
		defer release()
		ctx, cancel := context.WithCancel(held)
		defer cancel()
		defer context.AfterFunc(serving, cancel)()
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Add("Vary", "Accept")
		w.Header().Set("X-Accel-Buffering", "no") // nginx
		w.WriteHeader(http.StatusOK)
		s := &stream{w: w, control: http.NewResponseController(w), within: a.cfg.WriteTimeout, silent: r.ProtoMajor > 1}
		// The head goes out once the caller's own message is read, which it has to send in time.
		if _, err := s.write(); err != nil || r.Method == http.MethodHead {
			return
		}
		_ = s.control.SetReadDeadline(time.Time{}) // all that is read from now on is that the caller leaves
		if kind == kindEvents {
			var beat sync.WaitGroup
			defer beat.Wait()
			beat.Go(func() { defer cancel(); s.beat(ctx) })
			defer cancel()
		}
		_ = follower.Follow(ctx, func(v live.View) (int, error) { return send(s, v) }) // the caller is gone, or too slow: it is disconnected
	}
}

// stream is an answer that does not end by itself.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	within  time.Duration // for the caller to take what is written
	silent  bool          // a deadline ends the stream though nothing is written: HTTP/2

	mu sync.Mutex
}

// write writes all parts of something and sends them.
func (s *stream) write(parts ...[]byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.control.SetWriteDeadline(time.Now().Add(s.within)) // fails where there is no connection
	if s.silent {
		defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	}
	for _, part := range parts {
		m, err := s.w.Write(part)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, s.control.Flush()
}

// beat says every now and then that the stream is alive, until ctx ends or nobody takes it.
func (s *stream) beat(ctx context.Context) {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if _, err := s.write([]byte(":\n\n")); err != nil {
			return
		}
	}
}

// sceneStream is scenes as lines, or as events. One that comes again because its picture came after it is told once.
func (a *API) sceneStream(r *http.Request, _ wishes) (kind string, send func(*stream, live.View) (int, error)) {
	kind = accepted(r, kindNDJSON, kindEvents)
	if kind == "" {
		return "", nil
	}
	var last api.Frame
	return kind, func(s *stream, v live.View) (int, error) {
		if v.Scene.Frame == last {
			return 0, nil
		}
		last = v.Scene.Frame
		var head []byte
		end := "\n"
		if kind == kindEvents {
			head, end = fmt.Appendf(nil, "event: scene\nid: %s\ndata: ", last), "\n\n"
		}
		line, err := v.AppendJSON(head)
		if err != nil {
			return 0, err
		}
		return s.write(append(line, end...))
	}
}

// pictureStream is pictures, each in the place of the one before: what an <img> shows.
func (a *API) pictureStream(_ *http.Request, q wishes) (kind string, send func(*stream, live.View) (int, error)) {
	return "multipart/x-mixed-replace; boundary=" + boundary, func(s *stream, v live.View) (int, error) {
		picture := v.Picture
		if q.overlay && len(picture) > 0 {
			drawn, err := v.Boxes()
			if err != nil {
				return 0, nil // the next one may do
			}
			picture = drawn
		}
		if len(picture) == 0 {
			return 0, nil
		}
		return s.write(fmt.Appendf(nil, "--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\nSpatialflow-Frame: %s\r\n\r\n", boundary, len(picture), v.Scene.Frame), picture, []byte("\r\n"))
	}
}
