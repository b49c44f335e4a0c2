package session

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	writeEvery  = time.Second     // between two batches
	writeWithin = 2 * time.Second // for a batch
	writing     = 16              // positions on their way at once
	maxNoted    = 16 << 10        // positions that wait while they can't be written; of others the scenes tell
)

// Record is where positions are written.
type Record interface {
	SetPosition(ctx context.Context, source, session string, position flow.Position) error
}

// Writer writes the positions of sessions, once a second those that changed, beside the path of the scenes. It is safe
// for concurrent use.
type Writer struct {
	record Record
	log    *slog.Logger
	told   bool // that they can't be written

	mu    sync.Mutex
	noted map[ID]flow.Position // not written yet
}

// NewWriter makes a writer that was told nothing yet.
func NewWriter(record Record, log *slog.Logger) *Writer {
	return &Writer{record: record, log: log, noted: map[ID]flow.Position{}}
}

// Note has a position written with the next batch.
func (w *Writer) Note(id ID, position flow.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.noted[id]; known || len(w.noted) < maxNoted {
		w.noted[id] = position
	}
}

// Noted is the seq of a session's position that is not written yet, or 0.
func (w *Writer) Noted(id ID) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noted[id].Seq
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.Write(ctx)
		}
	}
}

// Write writes what is not written yet; what fails is tried again with the next batch. It must not be called twice at once.
func (w *Writer) Write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	var tasks errgroup.Group
	tasks.SetLimit(writing)
	for id, position := range w.batch() {
		tasks.Go(func() error {
			if err := w.record.SetPosition(ctx, id.Source, id.Name, position); err != nil {
				return err
			}
			w.written(id, position)
			return nil
		})
	}
	err := tasks.Wait()
	if err != nil && !w.told {
		w.log.Warn("positions not written", "error", err)
	}
	w.told = err != nil
}

func (w *Writer) batch() map[ID]flow.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.noted)
}

func (w *Writer) written(id ID, position flow.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noted[id] == position {
		delete(w.noted, id)
	}
}
