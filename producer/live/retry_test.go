package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source"
)

// After a refused password the camera is left alone for long; after all else it is opened again within 2 s.
func TestRetry(t *testing.T) {
	t.Parallel()
	refused, lost := fmt.Errorf("open: %w", source.ErrRefused), errors.New("lost")
	var r retry
	for i, want := range []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		wait, news := r.after(refused)
		if wait != want || news != (i == 0) {
			t.Errorf("refused %d times: %v, news %t", i+1, wait, news)
		}
		if says := r.says(wait); !strings.Contains(says, fmt.Sprintf("in %d min", int(want.Minutes()))) {
			t.Error(says)
		}
	}
	for i := range 20 {
		least, most := reopenLeast/2, reopenLeast<<i
		if most > reopenMost || most <= 0 {
			most = reopenMost
		}
		if wait, news := r.after(lost); wait < least || wait > most || news != (i == 0) {
			t.Errorf("lost %d times: %v, news %t", i+1, wait, news)
		}
	}
	if wait, news := r.after(refused); wait != time.Minute || !news {
		t.Errorf("refused again: %v, news %t", wait, news)
	}
}

// A camera that is lost after each picture is opened more and more seldom, and told of once, until it gives pictures for long.
func TestRetryBriefly(t *testing.T) {
	t.Parallel()
	var r retry
	now, lost := time.Now(), errors.New("lost")
	for i := range 20 {
		for range 3 {
			if was := r.picture(now); was != "" {
				t.Fatalf("well again after %d short times: %s", i, was)
			}
			now = now.Add(steady / 4)
		}
		if _, news := r.after(lost); news != (i == 0) {
			t.Errorf("lost %d times: news %t", i+1, news)
		}
	}
	if r.wait != reopenMost {
		t.Errorf("it is opened again after %v, want %v", r.wait, reopenMost)
	}
	r.picture(now)
	if was := r.picture(now.Add(steady)); was != "lost" {
		t.Errorf("it was %q", was)
	}
	if was := r.picture(now.Add(2 * steady)); was != "" {
		t.Errorf("it is told twice that it was %q", was)
	}
	if wait, news := r.after(lost); !news || wait > reopenLeast {
		t.Errorf("lost after it was well: %v, news %t", wait, news)
	}
}
