package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/store"
)

// publisher answers each try with the next of its errors, then with none.
type publisher struct {
	answers []error
	tries   []string
}

func (p *publisher) PublishScene(_ context.Context, s *flow.Scene) error {
	p.tries = append(p.tries, fmt.Sprintf("%s map %v, %d boxes, %d answers, %d hops, errors %v", s.Outcome, s.Depth != nil, len(s.Detections), len(s.Answers), len(s.Ledger), len(s.Errors)))
	if len(p.answers) == 0 {
		return nil
	}
	err := p.answers[0]
	p.answers = p.answers[1:]
	return err
}

func scene() *flow.Scene {
	return &flow.Scene{
		Version: flow.Wire, Source: "a", Session: "s", Seq: 1, Mode: flow.ModeLossless, Plan: []string{"detect"}, Outcome: flow.OutcomeComplete,
		Depth: &depthmap.Map{}, Detections: make([]flow.Detection, 3), Ledger: make([]flow.Hop, 4), Errors: map[string]string{"depth": "torn"},
		Answers: map[string]map[string]msgpack.RawMessage{"pose": {}},
	}
}

// What is too large gets smaller step by step, and each step is tried once.
func TestSceneGetsSmaller(t *testing.T) {
	t.Parallel()
	tooLarge := fmt.Errorf("%w: %w", bus.ErrTooLarge, flow.ErrMessage) // as of too many elements
	p := &publisher{answers: slices.Repeat([]error{tooLarge}, 10)}
	if err := store.Scene(t.Context(), p, scene(), slog.New(slog.DiscardHandler)); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge in the end", err)
	}
	want := []string{
		"complete map true, 3 boxes, 1 answers, 4 hops, errors 1",
		"error map false, 3 boxes, 1 answers, 4 hops, errors 2",
		"error map false, 0 boxes, 0 answers, 4 hops, errors 2",
		"error map false, 0 boxes, 0 answers, 1 hops, errors 1",
	}
	if !slices.Equal(p.tries, want) {
		t.Errorf("tries:\n%s\nwant\n%s", strings.Join(p.tries, "\n"), strings.Join(want, "\n"))
	}
}

// A lossless scene is tried for as long as its fuser runs, whatever is said of it, with waits.
func TestEverTrying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{answers: []error{context.DeadlineExceeded, bus.ErrFull, bus.ErrRefused, bus.ErrRefused, bus.ErrNotProvisioned}}
		begin := time.Now()
		already, err := store.EverTrying(t.Context(), p, scene(), slog.New(slog.DiscardHandler))
		if already || err != nil || len(p.tries) != 6 {
			t.Errorf("already %v, %v after %d tries", already, err, len(p.tries))
		}
		if took := time.Since(begin); took < 10*time.Second {
			t.Errorf("it took %v: what is hopeless is tried again at once", took)
		}
		already, err = store.EverTrying(t.Context(), &publisher{answers: []error{bus.ErrStored}}, scene(), slog.New(slog.DiscardHandler))
		if !already || err != nil {
			t.Errorf("already %v, %v of a scene that is stored", already, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err = store.EverTrying(ctx, &publisher{answers: slices.Repeat([]error{bus.ErrFull}, 1000)}, scene(), slog.New(slog.DiscardHandler)); !errors.Is(err, bus.ErrFull) {
			t.Errorf("%v when ctx ends, want the last reason", err)
		}
	})
}
