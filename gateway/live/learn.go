package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

const (
	retryWait     = 100 * time.Millisecond
	retryWaitMax  = 2 * time.Second
	lookUpWithin  = 2 * time.Second       // for one source
	lookUpsAtOnce = 4                     // one that takes long holds no other up
	lookUpEvery   = 40 * time.Millisecond // at most, each of them: after an outage every gateway asks
	listWithin    = 10 * time.Second      // for the positions of all runs
	framesAtOnce  = 64                    // of one source that are looked up
)

// stored is what is to be looked up of a source: its newest stored scene, of a session or, when that is empty, of the newest one; or
// its frames that are stored still.
type stored struct {
	source, session string
	frames          bool
}

// lookUps are the stored scenes and frames that are to be looked up. What is asked for again meanwhile is looked up once.
type lookUps struct {
	most int

	mu    sync.Mutex
	all   bool // the runs are to be listed first
	queue []stored
	wake  chan struct{} // holds a token when there may be something to do
}

func newLookUps(most int) *lookUps { return &lookUps{most: most, wake: make(chan struct{}, 1)} }

// add asks for a source's; there is room for as many as sources are known, and for the frames of as many, for which somebody waits:
// they come first. It returns at once.
func (l *lookUps) add(one stored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case slices.Contains(l.queue, one):
	case one.frames && len(l.queue) < 2*l.most:
		l.queue = slices.Insert(l.queue, 0, one)
	case !one.frames && len(l.queue) < l.most:
		l.queue = append(l.queue, one)
	}
	l.signal()
}

// addAll asks for those of all runs that were heard of lately. It returns at once.
func (l *lookUps) addAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = true
	l.signal()
}

func (l *lookUps) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}

// next is what is to be done now: all runs are to be listed, or one is to be looked up. ok is false when there is nothing.
func (l *lookUps) next() (one stored, all, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all {
		l.all = false
		return one, true, true
	}
	if len(l.queue) == 0 {
		return one, false, false
	}
	one = l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	if len(l.queue) > 0 {
		l.signal() // to whoever else looks up
	}
	return one, false, true
}

// refreshAll asks for the newest stored scene of every source that was heard of lately.
func (s *Server) refreshAll() { s.lookUps.addAll() }

// refresh asks for the newest stored scene of a source.
func (s *Server) refresh(source string) { s.lookUps.add(stored{source: source}) }

// learn looks up what is stored and asked for, until ctx ends.
func (s *Server) learn(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	for range lookUpsAtOnce {
		tasks.Go(func() error {
			s.lookUps.run(ctx, s.lookUp, func(err error) { s.env.Log.Warn("stored scenes can't be read yet", "error", err) })
			return nil
		})
	}
	return tasks.Wait()
}

// run looks up what is asked for, one after the other and not too quickly, until ctx ends. What fails is tried again later, and
// what is done is done. failed is told the first of several failures.
func (l *lookUps) run(ctx context.Context, lookUp func(ctx context.Context, one stored, all bool) error, failed func(error)) {
	wait := retryWait
	for {
		one, all, ok := l.next()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-l.wake:
			}
			continue
		}
		err := lookUp(ctx, one, all)
		if err == nil {
			wait = retryWait
			if !clock.Sleep(ctx, lookUpEvery) {
				return
			}
			continue
		}
		if all {
			l.addAll()
		} else {
			l.add(one)
		}
		if wait == retryWait && ctx.Err() == nil {
			failed(err)
		}
		if !clock.Sleep(ctx, clock.Jitter(wait)) {
			return
		}
		wait = min(2*wait, retryWaitMax)
	}
}

// lookUp lists the runs, or gives the hub what is stored of a source.
func (s *Server) lookUp(ctx context.Context, one stored, all bool) error {
	switch {
	case all:
		return s.listRuns(ctx)
	case one.frames:
		return s.lookUpFrames(ctx, one.source)
	default:
		return s.lookUpScene(ctx, one)
	}
}

// lookUpFrames gives the hub the frames of a source whose scenes are still to come, and which were accepted before it was watched.
func (s *Server) lookUpFrames(ctx context.Context, source string) error {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	d, ok := s.deployment()
	if !ok {
		return nil
	}
	left := framesAtOnce
	err := s.env.Bus.StoredFrames(ctx, d.Groups, source, func(id flow.FrameID, data []byte) bool {
		s.hub.addFrame(id, data)
		left--
		return left > 0
	})
	if errors.Is(err, bus.ErrNotProvisioned) || ctx.Err() != nil {
		return nil // what comes from now on has its pictures
	}
	return err
}

// listRuns asks for the newest scene of each run that may still have one.
func (s *Server) listRuns(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	d, _ := s.deployment()
	runs, err := s.env.Bus.NewestRuns(ctx, d.Limits.ScenesKeep)
	if err != nil {
		return err
	}
	for _, run := range runs[:min(len(runs), s.cfg.MaxSources)] {
		s.lookUps.add(stored{source: run.Source, session: run.Session})
	}
	return nil
}

// lookUpScene gives the hub a stored scene.
func (s *Server) lookUpScene(ctx context.Context, one stored) error {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	scene, err := s.env.Bus.LastScene(ctx, one.source, one.session)
	switch {
	case err == nil:
		s.hub.addScene(scene, true)
		return nil
	case errors.Is(err, bus.ErrNotFound) && one.session != "": // it has only begun
		return s.lookUpScene(ctx, stored{source: one.source})
	case errors.Is(err, bus.ErrNotFound):
		return s.lookUpLive(ctx, one.source)
	case errors.Is(err, flow.ErrNewer):
		s.metrics.refuse(doorScenes, reasonNewer)
		return nil
	case errors.Is(err, flow.ErrMessage), errors.Is(err, flow.ErrFrameID), errors.Is(err, depthmap.ErrMap):
		s.metrics.refuse(doorScenes, reasonMalformed)
		return nil
	default:
		return fmt.Errorf("look up the newest scene of %s: %w", one.source, err)
	}
}

// lookUpLive is for a source without lossless scenes.
func (s *Server) lookUpLive(ctx context.Context, source string) error {
	scene, err := s.env.Bus.LastLiveScene(ctx, source)
	if err == nil {
		s.hub.addScene(scene, true)
	}
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	return err
}
