package standalone

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

const (
	watchSilence  = 10 * time.Second // a status comes every second, so the connection is dead
	watchLargest  = 64 << 20         // bytes of a message
	watchAgain    = time.Second      // between two tries to connect
	watchPatience = 3 * time.Second  // for the first scene of a source that has ended
)

// What ends watching.
var (
	errWatched = errors.New("watched") // there is nothing more to see
	errOutput  = errors.New("output")  // what is seen can't be written
)

// watchGateway shows what a gateway sends, and connects again when the connection is lost.
func (w *Watch) watchGateway(ctx context.Context, s *show) error {
	if w.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.Duration)
		defer cancel()
	}
	c := &watched{w: w, show: s, source: w.Source}
	for told := false; ; {
		connected, err := c.connect(ctx)
		if errors.Is(err, errOutput) {
			return err
		}
		if errors.Is(err, errWatched) || ctx.Err() != nil {
			return nil
		}
		var refused websocket.CloseError
		if errors.As(err, &refused) && refused.Code == websocket.StatusPolicyViolation {
			return err
		}
		if !connected && c.show.scenes == 0 {
			return fmt.Errorf("watch %s: %w (is a gateway there? spatialflow up and make demo start one)", w.Gateway, err)
		}
		if connected || !told {
			fmt.Fprintf(s.progress, "connecting again: %v\n", err)
			told = true
		}
		clock.Sleep(ctx, watchAgain)
	}
}

// watched is what was seen of a gateway.
type watched struct {
	w       *Watch
	show    *show
	source  string // that is shown; empty: not chosen yet
	told    bool   // that the source is not there
	session string
	last    uint64 // seq of the last scene shown
	dropped uint64 // before this connection
	idle    time.Time
}

// choose returns the first source that runs, else the first that has ended and has a scene; empty: there is none.
func (c *watched) choose(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.w.Gateway, "/")+"/api/v1/sources", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s answers %s", errMessage, request.URL, response.Status)
	}
	var status live.Status
	if err := json.NewDecoder(io.LimitReader(response.Body, watchLargest)).Decode(&status); err != nil {
		return "", fmt.Errorf("%w: %s: %w", errMessage, request.URL, err)
	}
	ended := ""
	for _, s := range status.Sources {
		switch {
		case s.State == flow.StateRunning:
			return s.Source, nil
		case ended == "" && s.State != live.StateGone && s.Seq > 0:
			ended = s.Source
		}
	}
	return ended, nil
}

// await returns once a source is chosen, and says when that takes a while. connected says that the gateway answered.
func (c *watched) await(ctx context.Context) (connected bool, err error) {
	for c.source == "" {
		within, cancel := context.WithTimeout(ctx, watchSilence)
		c.source, err = c.choose(within)
		cancel()
		if err != nil {
			return connected, err
		}
		connected = true
		if c.source == "" {
			c.tell("no source is running yet: waiting for one")
			if !clock.Sleep(ctx, watchAgain) {
				return true, ctx.Err()
			}
		}
	}
	return connected, nil
}

// tell says once that the source is not there.
func (c *watched) tell(what string) {
	if !c.told {
		fmt.Fprintln(c.show.progress, what)
		c.told = true
	}
}

// connect shows what comes over one connection. connected says that something did.
func (c *watched) connect(ctx context.Context) (connected bool, err error) {
	if connected, err = c.await(ctx); err != nil {
		return connected, err
	}
	address := strings.TrimSuffix(strings.Replace(c.w.Gateway, "http", "ws", 1), "/") + "/ws"
	dial, cancel := context.WithTimeout(ctx, watchSilence)
	defer cancel()
	conn, _, err := websocket.Dial(dial, address, nil)
	if err != nil {
		return connected, err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(watchLargest)
	ask, err := json.Marshal(live.Watch{Sources: []string{c.source}})
	if err != nil {
		return connected, err
	}
	if err := conn.Write(dial, websocket.MessageText, ask); err != nil {
		return connected, err
	}
	c.dropped = c.show.dropped
	for {
		within, cancel := context.WithTimeout(ctx, watchSilence)
		kind, data, err := conn.Read(within)
		cancel()
		if err != nil {
			return connected, err
		}
		connected = true
		if kind == websocket.MessageText {
			err = c.status(data)
		} else {
			err = c.scene(ctx, data)
		}
		if err != nil {
			if errors.Is(err, errWatched) {
				_ = conn.Close(websocket.StatusNormalClosure, "") // it has been read to the end either way
			}
			return true, err
		}
	}
}

// status returns errWatched when the source has ended and its last scene was shown.
func (c *watched) status(data []byte) error {
	var status live.Status
	if err := json.Unmarshal(data, &status); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	known := make([]string, 0, len(status.Sources))
	for _, s := range status.Sources {
		known = append(known, s.Source)
	}
	if !slices.Contains(known, c.source) {
		c.tell(fmt.Sprintf("the gateway knows no source %s yet, but: %s", c.source, cmp.Or(strings.Join(known, ", "), "none")))
	}
	for _, s := range status.Sources {
		if s.Source != c.source || s.State != flow.StateComplete && s.State != flow.StateStopped && s.State != flow.StateFailed {
			continue
		}
		if c.idle.IsZero() {
			c.idle = time.Now()
		}
		if s.Session == c.session && c.last >= s.Seq || time.Since(c.idle) > watchPatience {
			fmt.Fprintf(c.show.progress, "%s is %s %s\n", s.Source, s.State, s.Reason)
			return errWatched
		}
		return nil
	}
	c.idle = time.Time{}
	return nil
}

// scene shows a scene message; see [live.SceneHeader].
func (c *watched) scene(ctx context.Context, data []byte) error {
	header, picture, depth, err := parseScene(data)
	if err != nil {
		return err
	}
	if header.Frame.Source != c.source || header.Frame.Session == c.session && header.Frame.Seq <= c.last {
		return nil // another source; or shown, before the connection was lost
	}
	if c.session != header.Frame.Session {
		c.show.painter.Forget()
	}
	c.session, c.last = header.Frame.Session, header.Frame.Seq
	c.show.dropped = c.dropped + header.Dropped
	if err := c.show.open(25); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	if err := c.show.scene(ctx, header.SceneJSON, picture, depth, header.Mode == flow.ModeLive); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	if c.w.Frames > 0 && c.show.scenes >= c.w.Frames {
		return errWatched
	}
	return nil
}

// errMessage is returned when a gateway sends something else than a scene.
var errMessage = errors.New("bad scene message")

// parseScene takes a message apart: length of the header, header, picture, depth.
func parseScene(data []byte) (header live.SceneHeader, picture []byte, depth *drawing.Map, err error) {
	if len(data) < 4 {
		return header, nil, nil, fmt.Errorf("%w: %d bytes", errMessage, len(data))
	}
	n := int64(binary.LittleEndian.Uint32(data))
	rest := data[4:]
	if n > int64(len(rest)) {
		return header, nil, nil, fmt.Errorf("%w: a header of %d bytes in %d", errMessage, n, len(rest))
	}
	if err := json.Unmarshal(rest[:n], &header); err != nil {
		return header, nil, nil, fmt.Errorf("%w: header: %w", errMessage, err)
	}
	rest = rest[n:]
	bytes := 0
	if header.Depth != nil {
		bytes = header.Depth.Bytes
	}
	if header.PictureBytes < 0 || bytes < 0 || header.PictureBytes > len(rest) || bytes != len(rest)-header.PictureBytes {
		return header, nil, nil, fmt.Errorf("%w: %d bytes of picture and %d of depth in %d", errMessage, header.PictureBytes, bytes, len(rest))
	}
	picture = rest[:header.PictureBytes]
	if header.Depth == nil {
		return header, picture, nil, nil
	}
	if header.Depth.Map == nil {
		return header, nil, nil, fmt.Errorf("%w: depth without a map", errMessage)
	}
	header.Depth.Map.Data = rest[header.PictureBytes:]
	if err := header.Depth.Map.Validate(); err != nil {
		return header, nil, nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	return header, picture, mapOf(header.Depth.Map, header.Depth.Range), nil
}
