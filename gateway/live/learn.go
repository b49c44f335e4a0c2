package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

const (
	retryWait    = 100 * time.Millisecond
	retryWaitMax = 2 * time.Second
	lookUpWithin = 2 * time.Second       // for one source
	lookUpEvery  = 10 * time.Millisecond // at most: after an outage every gateway asks
	listWithin   = 10 * time.Second      // for the positions of all runs
)

// newestStored is a stored scene to be looked up: the newest of a source's session, or of its newest one when that is empty.
type newestStored struct{ source, session string }

// lookUps are the stored scenes that are to be looked up. What is asked for again meanwhile is looked up once.
type lookUps struct {
	most int

	mu    sync.Mutex
	all   bool // the runs are to be listed first
	queue []newestStored
	wake  chan struct{} // holds a token when there may be something to do
}

func newLookUps(most int) *lookUps { return &lookUps{most: most, wake: make(chan struct{}, 1)} }

// add asks for a source's; there is room for as many as sources are known. It returns at once.
func (l *lookUps) add(one newestStored) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) < l.most && !slices.Contains(l.queue, one) {
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
func (l *lookUps) next() (one newestStored, all, ok bool) {
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
	return one, false, true
}

// refreshAll asks for the newest stored scene of every source that was heard of lately.
func (s *Server) refreshAll() { s.lookUps.addAll() }

// refresh asks for the newest stored scene of a source.
func (s *Server) refresh(source string) { s.lookUps.add(newestStored{source: source}) }

// learn looks up the stored scenes that are asked for, one after the other and not too quickly, until ctx ends. What fails is
// tried again later, and what is done is done.
func (s *Server) learn(ctx context.Context) error {
	wait := retryWait
	for {
		one, all, ok := s.lookUps.next()
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-s.lookUps.wake:
			}
			continue
		}
		var err error
		if all {
			err = s.listRuns(ctx)
		} else {
			err = s.lookUp(ctx, one)
		}
		if err == nil {
			wait = retryWait
			if !clock.Sleep(ctx, lookUpEvery) {
				return nil
			}
			continue
		}
		if all {
			s.lookUps.addAll()
		} else {
			s.lookUps.add(one)
		}
		if wait == retryWait && ctx.Err() == nil {
			s.env.Log.Warn("stored scenes can't be read yet", "error", err)
		}
		if !clock.Sleep(ctx, clock.Jitter(wait)) {
			return nil
		}
		wait = min(2*wait, retryWaitMax)
	}
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
		s.lookUps.add(newestStored{run.Source, run.Session})
	}
	return nil
}

// lookUp gives the hub a stored scene.
func (s *Server) lookUp(ctx context.Context, one newestStored) error {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	scene, err := s.env.Bus.LastScene(ctx, one.source, one.session)
	switch {
	case err == nil:
		s.hub.addScene(scene, true)
		return nil
	case errors.Is(err, bus.ErrNotFound) && one.session != "": // it has only begun
		return s.lookUp(ctx, newestStored{source: one.source})
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
