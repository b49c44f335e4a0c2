package workers

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// heldMsg counts how often the server was told that it is worked on.
type heldMsg struct {
	jetstream.Msg
	told  int
	takes time.Duration
	err   error
}

func (m *heldMsg) InProgress() error {
	m.told++
	time.Sleep(m.takes)
	return m.err
}

// However long a frame takes, the server hears of it every second, and nothing once it is released: not even when
// the release comes in the middle of it.
func TestHold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		msg  heldMsg
		hold time.Duration
		told int
	}{
		"a short frame":           {heldMsg{}, 900 * time.Millisecond, 0},
		"a long frame":            {heldMsg{}, 4500 * time.Millisecond, 4},
		"NATS is away":            {heldMsg{err: errors.New("no connection")}, 4500 * time.Millisecond, 4},
		"released while it tells": {heldMsg{takes: 100 * time.Millisecond}, 2050 * time.Millisecond, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			msg := test.msg
			release := hold(&msg)
			time.Sleep(test.hold)
			release()
			time.Sleep(10 * time.Second)
			if msg.told != test.told {
				t.Errorf("%s: told %d times, want %d", name, msg.told, test.told)
			}
		})
	}
}

func TestAfterwardsLivesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		longer, cancel := afterwards(ctx)
		defer cancel()
		time.Sleep(time.Hour)
		stop()
		time.Sleep(stoppedAfter - time.Millisecond)
		if longer.Err() != nil {
			t.Fatal("it ended too early")
		}
		time.Sleep(2 * time.Millisecond)
		if longer.Err() == nil {
			t.Fatal("it does not end")
		}
	})
}

// slotFunc is a slot that does what a test wants.
type slotFunc func(result *flow.Result) error

func (f slotFunc) Answer(_ *picture.Picture, result *flow.Result, _ func(string)) error {
	return f(result)
}
func (f slotFunc) Close() error { return nil }

// Whatever happens while a frame is looked at is the frame's error; what the fuser would refuse is one too.
func TestAnswerTurnsTroubleIntoAnError(t *testing.T) {
	t.Parallel()
	var data bytes.Buffer
	if err := jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, 32, 24)), nil); err != nil {
		t.Fatal(err)
	}
	frame := &flow.Frame{Version: flow.Wire, Source: "cam1", Session: "s", Seq: 1, Mode: flow.ModeLossless, Plan: []string{flow.GroupDetect}, Picture: data.Bytes()}
	detection := flow.Detection{Label: "person", Score: 0.5, Box: [4]float32{1, 2, 3, 4}}
	for name, test := range map[string]struct {
		slot slotFunc
		says string // nothing: it is an answer
	}{
		"an answer": {func(r *flow.Result) error { r.Detections = []flow.Detection{detection}; return nil }, ""},
		"an error":  {func(*flow.Result) error { return errors.New("out of memory") }, "out of memory"},
		"a panic":   {func(r *flow.Result) error { return errors.New(r.Detections[7].Label) }, "panic: runtime error: index out of range"},
		"a bad score": {func(r *flow.Result) error {
			d := detection
			d.Score = 1.5
			r.Detections = []flow.Detection{d}
			return nil
		}, "score 1.5"},
		"a bad map": {func(r *flow.Result) error { r.Depth = &depthmap.Map{Width: -1}; return nil }, "bad depth map"},
	} {
		registry := prometheus.NewRegistry()
		w := &worker{
			cfg: Config{Group: flow.GroupDetect}, env: service.Env{Log: slog.New(slog.DiscardHandler)}, picture: picture.NewPicture(), slot: test.slot,
			metrics: metrics{seconds: telemetry.NewStageSeconds(registry, flow.GroupDetect)},
		}
		err := w.answer(frame, w.result(frame, time.Now()), time.Now())
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
		w.close()
	}
}
