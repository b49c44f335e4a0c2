package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/gateway/credentials"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

const (
	watchAgain    = time.Second     // between two questions for a source
	watchPatience = 3 * time.Second // for the first scene of a source that has ended
)

// errWatched ends watching: there is nothing more to see.
var errWatched = errors.New("watched")

// watchGateway shows what a gateway sends, and connects again when the connection is lost.
func (w *Watch) watchGateway(ctx context.Context, s *show) error {
	if w.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.Duration)
		defer cancel()
	}
	options, err := w.Options()
	if err != nil {
		return err
	}
	gateway, err := client.New(w.Gateway, options)
	if err != nil {
		return err
	}
	c := &watched{w: w, show: s, source: w.Source}
	if c.source == "" {
		c.source, err = c.await(ctx, gateway)
	}
	if err == nil && c.source != "" {
		err = c.follow(ctx, gateway)
	}
	if errors.Is(err, errWatched) {
		return nil
	}
	return w.Explain(err)
}

// watched is what was seen of a gateway.
type watched struct {
	w       *Watch
	show    *show
	source  string // that is shown
	told    bool   // that the source is not there
	lost    bool   // the connection, and that was told
	heard   bool   // the gateway, since watching began
	session string
	last    uint64 // seq of the last scene shown
	idle    time.Time
}

// await returns the source to watch once there is one, and says when that takes a while. It is empty when ctx ended.
func (c *watched) await(ctx context.Context, gateway *client.Client) (string, error) {
	for {
		status, err := gateway.Status(ctx)
		switch {
		case ctx.Err() != nil:
			return "", nil
		case err != nil:
			if err := c.again(err); err != nil {
				return "", err
			}
		default:
			c.heard, c.lost = true, false
			if source := choose(status); source != "" {
				return source, nil
			}
			c.tell("no source is running yet: waiting for one")
		}
		if !clock.Sleep(ctx, watchAgain) {
			return "", nil
		}
	}
}

// choose returns the first source that runs, else the first that has ended and has a scene; empty: there is none.
func choose(status *api.Status) string {
	ended := ""
	for _, s := range status.Sources {
		switch {
		case s.State == api.StateRunning:
			return s.Source
		case ended == "" && s.State != api.StateGone && s.Seq > 0:
			ended = s.Source
		}
	}
	return ended
}

// follow shows the source until ctx ends or there is nothing more to see.
func (c *watched) follow(ctx context.Context, gateway *client.Client) error {
	for event, err := range gateway.Events(ctx, api.Watch{Sources: []string{c.source}}) {
		switch {
		case err != nil:
		case event.Lost != nil:
			err = c.again(event.Lost)
		case event.Status != nil:
			c.heard, c.lost = true, false
			err = c.status(event.Status)
		default:
			c.heard, c.lost = true, false
			err = c.scene(ctx, event.Scene)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again says once that the gateway is asked again; one that was never heard is not.
func (c *watched) again(err error) error {
	var no *api.Problem
	if !c.heard && (credentials.Final(err) || errors.As(err, &no) && no.Status == http.StatusForbidden) { // there is one
		return fmt.Errorf("watch %s: %w", c.w.Gateway, err)
	}
	if !c.heard {
		return fmt.Errorf("watch %s: %w (is a gateway there? spatialflow up and make demo start one)", c.w.Gateway, err)
	}
	if !c.lost {
		fmt.Fprintf(c.show.progress, "connecting again: %v\n", err)
		c.lost = true
	}
	return nil
}

// tell says once that the source is not there.
func (c *watched) tell(what string) {
	if !c.told {
		fmt.Fprintln(c.show.progress, what)
		c.told = true
	}
}

// status returns errWatched when the source has ended and its last scene was shown.
func (c *watched) status(status *api.Status) error {
	known := make([]string, 0, len(status.Known))
	for _, s := range status.Known {
		known = append(known, s.Source)
	}
	if status.Known != nil && !slices.Contains(known, c.source) { // else they are those that it was told before
		c.tell(fmt.Sprintf("the gateway knows no source %s yet, but: %s", c.source, api.Printable(cmp.Or(strings.Join(known, ", "), "none"))))
	}
	for _, s := range status.Sources {
		if s.Source != c.source || !s.State.Ended() {
			continue
		}
		if c.idle.IsZero() {
			c.idle = time.Now()
		}
		if s.Session == c.session && c.last >= s.Seq || time.Since(c.idle) > watchPatience {
			fmt.Fprintf(c.show.progress, "%s is %s %s\n", s.Source, s.State, api.Printable(s.Reason))
			return errWatched
		}
		return nil
	}
	c.idle = time.Time{}
	return nil
}

// scene shows a scene.
func (c *watched) scene(ctx context.Context, m *api.Message) error {
	if m.Frame.Source != c.source {
		return nil
	}
	if c.session != m.Frame.Session {
		c.show.painter.Forget()
	}
	c.session, c.last = m.Frame.Session, m.Frame.Seq
	c.show.dropped = m.Dropped
	if err := c.show.open(25); err != nil {
		return err
	}
	var depth *drawing.Map
	if m.Depth != nil {
		depth = mapOf(&m.Depth.Map, m.Depth.Range)
	}
	if err := c.show.scene(ctx, m.Scene, m.Picture, depth, m.Mode == api.ModeLive); err != nil {
		return err
	}
	if c.w.Frames > 0 && c.show.scenes >= c.w.Frames {
		return errWatched
	}
	return nil
}
