package standalone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/gateway/credentials"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

// askedGateway are the models behind a gateway.
type askedGateway struct {
	gateway *client.Client
	given   credentials.Flags
	ask     client.Question
}

// Close does nothing: a connection is held for an answer alone.
func (askedGateway) Close() error { return nil }

const (
	posted     = 16 << 20 // bytes that a gateway takes
	busyFor    = time.Minute
	busyAtMost = 5 * time.Second // between two questions
)

// busy is what a gateway answers that has no time, or whose workers have none.
var busy = []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusGatewayTimeout}

// look asks the gateway, and again while it has no time.
func (g askedGateway) look(ctx context.Context, path string) (l looked, err error) {
	l.scene = api.Scene{Outcome: flow.OutcomeError, Plan: []string{}, Detections: []api.Detection{}, Missing: []string{}, Ledger: []api.Hop{}}
	data, err := readPosted(path)
	if err != nil {
		l.scene.Errors = map[string]string{"predict": err.Error()}
		return l, nil
	}
	answer, err := g.until(ctx, data)
	var no *api.Problem
	switch {
	case errors.As(err, &no) && (no.Status == http.StatusBadRequest || no.Status == http.StatusUnprocessableEntity || no.Status == http.StatusBadGateway || no.Status == http.StatusRequestEntityTooLarge):
		l.scene.Errors = map[string]string{"predict": no.Detail}
		return l, nil
	case err != nil:
		return l, fmt.Errorf("ask about %s: %w", path, g.given.Explain(err))
	}
	if l.scene = answer.Scene; answer.Depth != nil {
		l.depth = &drawing.Map{Map: &answer.Depth.Map, Range: answer.Depth.Range}
	}
	if g.ask.Depth { // to be drawn
		l.picture, _, _, err = producer.ReadPicture(ctx, path)
	}
	return l, err
}

// until asks for as long as the gateway says that it has no time, for [busyFor].
func (g askedGateway) until(ctx context.Context, data []byte) (*api.PictureScene, error) {
	for begun := time.Now(); ; {
		answer, err := g.gateway.Predict(ctx, data, g.ask)
		var no *api.Problem
		if !errors.As(err, &no) || !slices.Contains(busy, no.Status) || time.Since(begun) > busyFor {
			return answer, err
		}
		if !clock.Sleep(ctx, clock.Jitter(min(max(no.RetryAfter, time.Second/4), busyAtMost))) {
			return nil, context.Cause(ctx)
		}
	}
}

// readPosted is a file's bytes, unless they are more than a gateway takes.
func readPosted(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > posted {
		return nil, fmt.Errorf("%s has %d bytes, and a gateway takes %d", filepath.Base(path), info.Size(), posted)
	}
	return os.ReadFile(path)
}
