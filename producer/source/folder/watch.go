package folder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	lookLeast     = 500 * time.Millisecond // between two looks at a folder
	lookShare     = 20                     // of the time, at most one part of so many is spent looking
	settledFor    = 4 * time.Second        // without a change, after which a file is whole: a copy may stand still for a while
	watchPatience = time.Minute            // for a folder that can't be read, as on a network that is away
)

// Watch looks into a folder again and again, which works on every file system, those on a network included. A file is
// whole, and taken, once its size and time have stayed the same for 4 s; an empty one never is. One that was taken is not
// taken again while it is there. One goroutine uses it.
type Watch struct {
	folder string
	others *Passed
	known  map[string]bool // names that were taken, or passed over
	coming map[string]seen // at files that are not known to be whole
	began  bool            // the folder was looked into before
	now    func() time.Time
}

// seen is what a file was at a look.
type seen struct {
	size    int64
	changed time.Time
	since   time.Time // this is so
}

// NewWatch looks for the first time: pictures are those that are whole by then. others is what the folder has beside them, now and
// later. An error is returned when it can't be read, or holds more than 1,048,576 files.
func NewWatch(folder string) (w *Watch, pictures []string, others *Passed, err error) {
	w = &Watch{folder: folder, others: new(Passed), known: map[string]bool{}, coming: map[string]seen{}, now: time.Now}
	pictures, err = w.look()
	return w, pictures, w.others, err
}

// Next waits for files, and returns their paths in natural order. An error is that of ctx, or of a folder that could not be read for a
// minute.
func (w *Watch) Next(ctx context.Context) ([]string, error) {
	pause, failing := lookLeast, time.Time{}
	for clock.Sleep(ctx, pause) {
		begin := time.Now()
		paths, err := w.look()
		switch {
		case err == nil && len(paths) > 0:
			return paths, nil
		case err == nil:
			failing = time.Time{}
		case failing.IsZero():
			failing = begin
		case begin.Sub(failing) >= watchPatience:
			return nil, err
		}
		pause = max(lookLeast, lookShare*time.Since(begin))
	}
	return nil, ctx.Err()
}

// look returns the files that are whole now.
func (w *Watch) look() ([]string, error) {
	entries, err := os.ReadDir(w.folder)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("folder %s holds %d files, at most %d", w.folder, len(entries), maxFiles)
	}
	known, coming := make(map[string]bool, len(entries)), map[string]seen{}
	var whole []string
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case hidden(name):
			continue
		case w.known[name]:
			known[name] = true
			continue
		case entry.IsDir():
			w.others.folder()
			known[name] = true
			continue
		}
		path := filepath.Join(w.folder, name)
		info, err := os.Stat(path)
		if err != nil {
			continue // gone, or a link to what is not there yet
		}
		now := seen{info.Size(), info.ModTime(), w.now()}
		if before, ok := w.coming[name]; ok && before.size == now.size && before.changed.Equal(now.changed) {
			now.since = before.since
		} else if !w.began {
			now.since = now.changed
		}
		if info.Mode().IsRegular() && !unread(name) && (now.size == 0 || w.now().Sub(now.since) < settledFor) {
			coming[name] = now
			continue
		}
		known[name] = true
		if w.others.takes(path) {
			whole = append(whole, path)
		}
	}
	w.known, w.coming, w.began = known, coming, true
	slices.SortFunc(whole, naturalOrder)
	return whole, nil
}
