package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/live/smaller"
)

// View is a scene with what goes along, for one viewer. It must not be changed.
type View struct {
	Scene *api.Scene
	// Picture is the frame's JPEG as the viewer wants it, and empty when the frame is gone or had none.
	Picture  []byte
	DepthSeq uint64 // of the frame that the newest depth map of the source belongs to; 0: it came before
	Fresh    bool   // false: it was there before the viewer watched
	Dropped  uint64 // scenes that the viewer was too slow for

	head  func() ([]byte, error)
	boxes func() ([]byte, error)
	depth func() drawnDepth
}

// AppendJSON appends the scene as JSON, its mode with it; encoded once for all viewers.
func (v View) AppendJSON(dst []byte) ([]byte, error) {
	head, err := v.head()
	return append(append(dst, head...), '}'), err
}

// Boxes is the picture with its boxes on it, at its own size; made once for all viewers. It is empty when there is no picture.
func (v View) Boxes() ([]byte, error) {
	if v.boxes == nil {
		return nil, nil
	}
	return v.boxes()
}

// Depth is the depth map as a PNG of 16 bits, and how its pixels are read; made once for all viewers. There must be one.
func (v View) Depth() (png []byte, read depthmap.Map, err error) {
	made := v.depth()
	return made.png, made.read, made.err
}

// Follower is a viewer without a websocket.
type Follower struct {
	server *Server
	viewer *viewer
	watch  api.Watch
}

// NewFollower makes a viewer, which must be closed, for somebody. [ErrWatch] is returned when it wants what it may not have, [ErrFull] when
// there are as many viewers as there may be.
func (s *Server) NewFollower(watch api.Watch, who *access.Caller) (*Follower, error) {
	if err := validWatch(watch, s.cfg.MaxWatched); err != nil {
		return nil, err
	}
	v := newViewer(who, s.cfg.ViewerBytes)
	if !s.hub.join(v) {
		s.metrics.refuse(doorREST, reasonFull)
		return nil, fmt.Errorf("%w: there are %d already", ErrFull, s.cfg.MaxViewers)
	}
	s.serving.Add(1)
	v.want(wantsOf(watch))
	return &Follower{s, v, watch}, nil
}

// Close makes room for another viewer.
func (f *Follower) Close() {
	f.server.hub.leave(f.viewer)
	f.server.serving.Done()
}

// Follow hands scenes to show, which says how many bytes it sent, one after the other, until ctx ends or show returns an error;
// what is overtaken meanwhile is dropped.
func (f *Follower) Follow(ctx context.Context, show func(View) (sent int, err error)) error {
	s, v := f.server, f.viewer
	s.hub.follow(v, f.watch.Sources)
	s.watching.await(ctx)   // so that it has the pictures of what comes from now on
	due := time.NewTimer(0) // something waits for its time
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		case <-v.wake:
		}
		p, ok := v.take(time.Now())
		if !p.due.IsZero() {
			due.Reset(time.Until(p.due))
		}
		if !ok || p.scene == nil {
			continue
		}
		latency := p.scene.latency()
		sent, err := show(s.viewOf(p))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.metrics.drop(reasonTimeout)
		}
		if err != nil {
			return err
		}
		if sent == 0 {
			continue
		}
		v.spend(sent, time.Now())
		s.metrics.bytes.Add(float64(sent))
		s.metrics.scenes.Inc()
		s.metrics.sent.Add(1)
		if !p.stale {
			s.metrics.endToEnd.Observe(latency.Seconds())
		}
	}
}

// viewOf is a parcel for who follows.
func (s *Server) viewOf(p parcel) View {
	view := View{Scene: &p.scene.json, head: p.scene.head, Fresh: !p.stale, Dropped: p.dropped}
	if p.scene.frame != nil {
		view.boxes = func() ([]byte, error) { return p.scene.frame.boxes(p.scene.json.Detections, s.drawing) }
		var err error
		if view.Picture, err = p.scene.frame.sized(p.wants.width, s.smaller); err != nil {
			s.metrics.refuse(doorFrames, reasonMalformed)
		}
	}
	if p.depth != nil {
		view.DepthSeq = p.depth.seq
		view.depth = func() drawnDepth { return p.depth.sized(p.wants.width, s.smaller).drawing(s.drawing) }
	}
	return view
}

// MaxWatchBytes bounds a viewer's message.
const MaxWatchBytes = 4 << 10

// parseWatch reads a viewer's message, and the token in it. [ErrWatch] is returned when it is none or names more than limit sources.
func parseWatch(data []byte, limit int) (_ api.Watch, token string, err error) {
	var said struct {
		Token string `json:"token"`
		api.Watch
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&said); err != nil {
		return said.Watch, "", fmt.Errorf("%w: %w", ErrWatch, err)
	}
	watch := said.Watch
	if watch.Sources == nil || decoder.More() {
		return watch, "", fmt.Errorf(`%w: want {"sources":["name"]}`, ErrWatch)
	}
	slices.Sort(watch.Sources)
	watch.Sources = slices.Compact(watch.Sources)
	return watch, said.Token, validWatch(watch, limit)
}

// validWatch returns [ErrWatch] when a viewer wants what it may not have.
func validWatch(watch api.Watch, limit int) error {
	if len(watch.Sources) > limit {
		return fmt.Errorf("%w: %d sources, at most %d", ErrWatch, len(watch.Sources), limit)
	}
	for _, source := range watch.Sources {
		if err := flow.ValidToken("source", source); err != nil {
			return fmt.Errorf("%w: %w", ErrWatch, err)
		}
		if strings.HasPrefix(source, flow.PredictPrefix) {
			return fmt.Errorf("%w: %s is for pictures that are posted, which nobody watches", ErrWatch, source)
		}
	}
	switch {
	case watch.MaxFPS != 0 && !(watch.MaxFPS >= 0.01 && watch.MaxFPS <= 1000):
		return fmt.Errorf("%w: max_fps %v, want 0.01 to 1000", ErrWatch, watch.MaxFPS)
	case watch.MaxWidth != 0 && watch.MaxWidth < smaller.Least:
		return fmt.Errorf("%w: max_width %d, want %d or more", ErrWatch, watch.MaxWidth, smaller.Least)
	case watch.PartBytes != 0 && watch.PartBytes < leastPart:
		return fmt.Errorf("%w: part_bytes %d, want %d or more", ErrWatch, watch.PartBytes, leastPart)
	}
	return nil
}

// leastPart keeps what parts cost beside what they hold small.
const leastPart = 1 << 10
