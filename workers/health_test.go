package workers

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
)

const (
	good   = 64 // width of pictures, and of the worker's own
	poison = 80 // of one that the model fails on
)

// knows waits until two workers know of each other.
func knows(t *testing.T, lives ...*life) {
	t.Helper()
	for _, l := range lives {
		eventually(t, "a worker hears the other", l.peers.any)
	}
}

// A worker whose every run fails after some answers nothing more: it gives all back, says so, is not ready and ends with a code of
// its own, and the frames, none of which is counted as tried, are answered by another.
func TestBrokenWorkerHurtsNoFrame(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(runs int64) (float32, error){
		"its runs fail":       func(int64) (float32, error) { return 0, errRun },
		"it puts out NaN":     func(int64) (float32, error) { return float32(math.NaN()), nil },
		"it is out of memory": func(int64) (float32, error) { return 0, engine.ErrRun },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			heard := make(chan *nats.Msg, 256)
			if _, err := b.bus.Conn().ChanSubscribe(flow.AliveSubject(flow.GroupDetect, "*"), heard); err != nil {
				t.Fatal(err)
			}
			const frames, fine = 120, 20
			var runs atomic.Int64
			s := &standIn{}
			s.run = func(context.Context, int) error {
				if n := runs.Add(1); n > fine {
					_, err := breaks(n)
					return err
				}
				return nil
			}
			s.says = func(r *flow.Result, _ int) error {
				if n := runs.Load(); n > fine {
					if score, _ := breaks(n); score != score {
						return model.ErrOutput
					}
				}
				return nil
			}
			for seq := uint64(1); seq <= frames; seq++ {
				b.publish(t, frameOf(t, seq, good))
			}
			broken := b.start(t, s, nil)
			if err := broken.wait(t); !errors.Is(err, ErrBroken) {
				t.Fatalf("it ends with %v", err)
			} else if coder := (interface{ ExitCode() int })(nil); !errors.As(err, &coder) || coder.ExitCode() != ExitBroken {
				t.Errorf("%v has no exit code of its own", err)
			}
			eventually(t, "it says that it is broken", func() bool {
				select {
				case msg := <-heard:
					alive, err := flow.ParseAlive(msg.Data)
					return err == nil && strings.Contains(alive.Note, ErrBroken.Error())
				default:
					return false
				}
			})
			l := b.start(t, &standIn{}, nil)
			defer l.stop(t)
			for seq, r := range b.results(t, flow.ModeLossless, frames) {
				if r.Error != "" {
					t.Errorf("frame %d: %s", seq, r.Error)
				}
			}
			for seq := uint64(1); seq <= frames; seq++ {
				eventually(t, "nothing is noted of a frame", func() bool { return b.attempts(t, seq).Tries == 0 })
			}
		})
	}
}

// A frame that fails where others do not is tried once by each of two workers, then answered as lost, with the cause; the workers
// go on.
func TestPoisonIsTriedOnceByEach(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		run   func(ctx context.Context) error
		says  error
		cause flow.Cause
	}{
		"a run fails":          {func(context.Context) error { return errRun }, nil, flow.CauseModel},
		"the output is wrong":  {func(context.Context) error { return nil }, model.ErrOutput, flow.CauseModel},
		"the output can't be":  {func(context.Context) error { return nil }, errors.New("index out of range"), flow.CauseModel},
		"a run takes too long": {hang, nil, flow.CauseDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var tried [2]counts
			var lives []*life
			for i := range tried {
				s := &standIn{
					run: func(ctx context.Context, width int) error {
						if width != poison {
							return nil
						}
						tried[i].add(width)
						return test.run(ctx)
					},
					says: func(_ *flow.Result, width int) error {
						if width == poison {
							return test.says
						}
						return nil
					},
				}
				// its shape is that of the others: a new one would be warmed up apart
				l := b.start(t, &fixed{s}, func(cfg *Config) { cfg.InferDeadline = 100 * time.Millisecond })
				defer l.stop(t)
				lives = append(lives, l)
			}
			knows(t, lives...)
			const frames = 40
			for seq := uint64(1); seq <= frames; seq++ {
				width := good
				if seq == 7 {
					width = poison
				}
				b.publish(t, frameOf(t, seq, width))
			}
			for seq, r := range b.results(t, flow.ModeLossless, frames) {
				want := flow.Failure{}
				if seq == 7 {
					want = flow.Failure{Class: flow.ClassLost, Cause: test.cause}
				}
				if r.Failure() != want || (r.Error != "") != (seq == 7) {
					t.Errorf("frame %d: %q %+v, want %+v", seq, r.Error, r.Failure(), want)
				}
			}
			if a, c := tried[0].of(poison), tried[1].of(poison); a != 1 || c != 1 {
				t.Errorf("tried %d and %d times", a, c)
			}
			eventually(t, "nothing is noted of it any more", func() bool { return b.attempts(t, 7).Tries == 0 })
		})
	}
}

// hang is a run that ends when it is told to.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return errors.Join(engine.ErrTerminated, context.Cause(ctx))
}

// A worker that is alone tries a frame again itself.
func TestLonelyWorkerTriesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var tried counts
	l := b.start(t, &fixed{&standIn{run: func(_ context.Context, width int) error {
		if width == poison && tried.add(width) == 1 {
			return errRun
		}
		return nil
	}}}, nil)
	defer l.stop(t)
	b.publish(t, frameOf(t, 1, poison))
	if r := b.results(t, flow.ModeLossless, 1)[1]; r.Error != "" || tried.of(poison) != 2 {
		t.Errorf("answered with %q after %d tries", r.Error, tried.of(poison))
	}
}

// A live frame is given back once, while its budget lasts.
func TestLiveFrameIsGivenBackOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		budget time.Duration
		tries  int
	}{"in time": {time.Hour, 2}, "too late": {time.Nanosecond, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var tried counts
			l := b.start(t, &fixed{&standIn{run: func(_ context.Context, width int) error {
				if width != poison {
					return nil
				}
				tried.add(width)
				return errRun
			}}}, nil)
			defer l.stop(t)
			l.pace.answered(0, time.Hour) // it may wait as long as it takes
			b.publish(t, liveFrameOf(t, 1, poison, test.budget))
			r := b.results(t, flow.ModeLive, 1)[1]
			if want := (flow.Failure{Class: flow.ClassLost, Cause: flow.CauseModel}); r.Failure() != want || tried.of(poison) != test.tries {
				t.Errorf("%+v after %d tries, want %+v after %d", r.Failure(), tried.of(poison), want, test.tries)
			}
		})
	}
}

// A run that never ends: its frame goes to another worker, and so does all else that the worker had in hand; the worker ends
// without waiting for it.
func TestHungWorkerLetsGo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, time.Hour) // what comes back was given back
	release := make(chan struct{})
	var leaked sync.WaitGroup
	defer leaked.Wait()
	defer close(release)
	hung := b.start(t, &fixed{&standIn{run: func(_ context.Context, width int) error {
		if width == poison {
			leaked.Add(1)
			defer leaked.Done()
			<-release
		}
		return nil
	}}}, func(cfg *Config) { cfg.InferDeadline = 100 * time.Millisecond })
	const frames = 40
	for seq := uint64(1); seq <= frames; seq++ {
		width := good
		if seq == 5 {
			width = poison
		}
		b.publish(t, frameOf(t, seq, width))
	}
	eventually(t, "a run does not end", func() bool { return b.attempts(t, 5).Tries == 1 })
	other := b.start(t, &fixed{&standIn{}}, nil)
	defer other.stop(t)
	for seq, r := range b.results(t, flow.ModeLossless, frames) {
		if r.Error != "" {
			t.Errorf("frame %d: %s", seq, r.Error)
		}
	}
	if err := hung.wait(t); !errors.Is(err, ErrBroken) {
		t.Errorf("it ends with %v", err)
	}
}

// A worker whose model does not even take its own picture is never ready.
func TestWorkerThatNeverWorks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, s := range map[string]*standIn{
		"its runs fail":   {run: func(context.Context, int) error { return errRun }},
		"it answers junk": {says: func(r *flow.Result, _ int) error { r.Detections = []flow.Detection{{Score: 314}}; return nil }},
		"it panics":       {says: func(r *flow.Result, _ int) error { r.Detections[7].Score = 1; return nil }},
		"it hangs":        {run: func(ctx context.Context, _ int) error { return hang(ctx) }},
	} {
		b.publish(t, frameOf(t, uint64(len(name)), good))
		l := b.start(t, s, func(cfg *Config) { cfg.WarmDeadline = time.Second })
		err := l.wait(t)
		if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "a first picture at 64x48") {
			t.Errorf("%s: it ends with %v", name, err)
		}
	}
}

// A worker whose first run never ends lets go of it: at its deadline as one whose model does not work, and when it is stopped.
func TestFirstRunNeverEnds(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]bool{"at its deadline": false, "when it is stopped": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			begun, release := make(chan struct{}), make(chan struct{})
			var leaked sync.WaitGroup
			defer leaked.Wait()
			defer close(release)
			leaked.Add(1)
			l := b.start(t, &standIn{run: func(context.Context, int) error {
				defer leaked.Done()
				close(begun)
				<-release
				return nil
			}}, func(cfg *Config) { cfg.WarmDeadline = time.Second })
			<-begun
			if stop {
				l.cancel()
			}
			if err := l.wait(t); errors.Is(err, ErrBroken) == stop {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// A worker that stops does not begin to warm up the shape of a frame that it gives back.
func TestStopWarmsNothingUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, time.Hour)
	begun, end := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	var warmed atomic.Int64
	s := &standIn{run: func(_ context.Context, width int) error {
		if armed.CompareAndSwap(true, false) {
			close(begun)
			<-end
		}
		return nil
	}}
	l := b.start(t, &slowShape{standIn: s, shape: [2]int{48, poison}, begun: func() { warmed.Add(1) }}, func(cfg *Config) { cfg.Parallel = 1 })
	eventually(t, "it is ready", l.health.Ready)
	armed.Store(true)
	b.publish(t, frameOf(t, 1, good))
	<-begun
	b.publish(t, frameOf(t, 2, poison))
	eventually(t, "the other waits for the model", func() bool { return len(l.ready.lossless) == 1 })
	l.cancel()
	eventually(t, "it is given back", func() bool { return len(l.hand.all()) == 1 })
	close(end)
	if err := l.wait(t); err != nil {
		t.Error(err)
	}
	if n := warmed.Load(); n > 0 {
		t.Errorf("%d runs at its shape", n)
	}
}

// While the model is run with a new shape for the first time, other shapes go on. Lossless frames of the shape come again, live ones
// are dropped.
func TestNewShapeIsWarmedUpApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	warming, warm := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s := &standIn{first: [2]int{48, good}}
	s.run = func(_ context.Context, width int) error { return nil }
	slow := &slowShape{standIn: s, shape: [2]int{48, poison}, begun: func() { first.Do(func() { close(warming); <-warm }) }}
	l := b.start(t, slow, nil)
	defer l.stop(t)
	b.publish(t, frameOf(t, 1, poison))
	<-warming
	b.publish(t, liveFrameOf(t, 1, poison, time.Hour))
	for seq := uint64(2); seq <= 30; seq++ {
		b.publish(t, frameOf(t, seq, good))
	}
	for seq, r := range b.results(t, flow.ModeLossless, 29) {
		if r.Error != "" || seq == 1 {
			t.Errorf("frame %d: %s", seq, r.Error)
		}
	}
	if r := b.results(t, flow.ModeLive, 1)[1]; r.Dropped != flow.DroppedWarming {
		t.Errorf("a live frame of the shape: %+v", r)
	}
	close(warm)
	if r := b.results(t, flow.ModeLossless, 1)[1]; r.Error != "" {
		t.Errorf("the frame of the new shape: %s", r.Error)
	}
}

// A shape that the model fails at is no fault of the worker: its frames are, one after the other, answered as lost.
func TestShapeThatNeverWorks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.start(t, &slowShape{standIn: &standIn{}, shape: [2]int{48, poison}, err: errRun}, nil)
	defer l.stop(t)
	for seq := uint64(1); seq <= 10; seq++ {
		b.publish(t, frameOf(t, seq, []int{good, poison}[seq%2]))
	}
	for seq, r := range b.results(t, flow.ModeLossless, 10) {
		want := []flow.Failure{{}, {Class: flow.ClassLost, Cause: flow.CauseModel}}[seq%2]
		if r.Failure() != want {
			t.Errorf("frame %d: %+v, want %+v", seq, r.Failure(), want)
		}
	}
}

// A live frame that expires while it waits between two stages is dropped there.
func TestLiveFrameExpiresBetweenStages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	begun, end := make(chan struct{}, 9), make(chan struct{})
	l := b.start(t, &fixed{&standIn{run: func(_ context.Context, width int) error {
		if width == poison {
			begun <- struct{}{}
			<-end
		}
		return nil
	}}}, func(cfg *Config) { cfg.Parallel = 1 })
	defer l.stop(t)
	l.hand.aim(2, 2)
	b.publish(t, frameOf(t, 1, poison))
	<-begun
	b.publish(t, liveFrameOf(t, 1, good, 50*time.Millisecond))
	eventually(t, "it waits for the model", func() bool { return len(l.ready.live) == 1 })
	time.Sleep(60 * time.Millisecond) // longer than its budget
	close(end)
	if r := b.results(t, flow.ModeLive, 1)[1]; r.Dropped != flow.DroppedExpired {
		t.Errorf("it is answered with %+v", r)
	}
	b.results(t, flow.ModeLossless, 1)
}

// A worker that stops gives back what the model has not begun with, and finishes the rest.
func TestStopGivesBackWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, time.Hour)
	begun, end := make(chan struct{}, 9), make(chan struct{})
	l := b.start(t, &fixed{&standIn{run: func(_ context.Context, width int) error {
		if width == poison {
			begun <- struct{}{}
			<-end
		}
		return nil
	}}}, func(cfg *Config) { cfg.Parallel = 1 })
	for seq := uint64(1); seq <= 3; seq++ {
		b.publish(t, frameOf(t, seq, poison))
	}
	<-begun
	eventually(t, "one waits for the model", func() bool { return len(l.ready.lossless) >= 1 })
	l.cancel()
	other := b.start(t, &fixed{&standIn{}}, nil)
	defer other.stop(t)
	b.results(t, flow.ModeLossless, 2) // though the first one still runs
	close(end)
	b.results(t, flow.ModeLossless, 1)
	if err := l.wait(t); err != nil {
		t.Error(err)
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	p := peers{own: "me", heard: map[string]time.Time{}}
	if p.any() {
		t.Error("nobody was heard")
	}
	p.hear("a", time.Now())
	if !p.any() {
		t.Error("one was heard just now")
	}
	p.hear("a", time.Now().Add(-peerFor))
	if p.any() {
		t.Error("it was not heard for long")
	}
	p.hear("b", time.Now())
	if len(p.heard) != 1 {
		t.Errorf("those who are gone are kept: %v", p.heard)
	}
}

func TestFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	f := failures{at: map[flow.FrameID]time.Time{}}
	for seq := range uint64(3 * mostFailures) {
		f.add(flow.FrameID{Seq: seq}, time.Now())
	}
	if len(f.at) > mostFailures || !f.here(flow.FrameID{Seq: 3*mostFailures - 1}) {
		t.Errorf("%d are kept", len(f.at))
	}
	f.add(flow.FrameID{Seq: 1}, time.Now().Add(-failuresKept))
	if f.here(flow.FrameID{Seq: 1}) {
		t.Error("an old one is remembered")
	}
}
