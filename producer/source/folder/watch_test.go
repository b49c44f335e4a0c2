package folder

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file is taken once it is whole, however it comes; and once.
func TestWatchLooks(t *testing.T) {
	t.Parallel()
	dir, plain := t.TempDir(), bytes.Repeat([]byte("\xff\xd8\xff"), 100)
	path := func(name string) string { return filepath.Join(dir, name) }
	write(t, path("p10.jpg"), plain)
	write(t, path("p9.jpg"), plain)
	write(t, path(".hidden.jpg"), plain)
	w := &Watch{folder: dir, others: new(Passed), known: map[string]bool{}, coming: map[string]seen{}}
	clock := time.Now()
	w.now = func() time.Time { return clock }
	for i, step := range []struct {
		do   func()
		want []string
	}{
		{func() {}, nil}, // as new as they are, they may be being written
		{func() {}, []string{"p9.jpg", "p10.jpg"}},
		{func() { write(t, path("late.jpg"), plain[:50]) }, nil},
		{func() { write(t, path("late.jpg"), plain[:70]) }, nil},
		{func() { write(t, path("late.jpg"), plain) }, nil},
		{func() { write(t, path("empty.jpg"), nil) }, []string{"late.jpg"}},
		{func() {}, nil},
		{func() { write(t, path("empty.jpg"), plain) }, nil},
		{func() {}, []string{"empty.jpg"}},
		{func() { write(t, path("notes.txt"), []byte("text")) }, nil},
		{func() { _ = os.Mkdir(path("sub"), 0o700) }, nil},
		{func() { _ = os.Symlink("later.jpg", path("link.jpg")) }, nil},
		{func() { write(t, path("later.jpg"), plain) }, nil},
		{func() {}, []string{"later.jpg", "link.jpg"}},
		{func() { _ = os.Remove(path("p9.jpg")) }, nil},
		{func() { write(t, path("p9.jpg"), plain) }, nil},
		{func() {}, []string{"p9.jpg"}}, // it was gone
		{func() { _ = os.Rename(path(".hidden.jpg"), path("shown.jpg")) }, nil},
		{func() {}, []string{"shown.jpg"}},
		{func() {}, nil},
	} {
		step.do()
		got, err := w.look()
		clock = clock.Add(settledFor)
		if err != nil {
			t.Fatal(err)
		}
		for j := range got {
			got[j] = filepath.Base(got[j])
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if said := w.others.String(); said != "1 file passed over: 1 no picture; 1 sub-folder not entered" {
		t.Error(said)
	}
}

// A copy that stands still for a while is not taken for a whole file.
func TestWatchWaitsForASlowCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &Watch{folder: dir, others: new(Passed), known: map[string]bool{}, coming: map[string]seen{}}
	clock := time.Now()
	w.now = func() time.Time { return clock }
	look := func(want int) {
		t.Helper()
		if got, err := w.look(); err != nil || len(got) != want {
			t.Errorf("%v, %v, want %d", got, err, want)
		}
	}
	look(0)
	write(t, filepath.Join(dir, "a.jpg"), []byte("\xff\xd8\xff"))
	for range 3 {
		look(0)
		clock = clock.Add(time.Second)
	}
	write(t, filepath.Join(dir, "a.jpg"), []byte("\xff\xd8\xff and the rest"))
	look(0)
	clock = clock.Add(settledFor)
	look(1)
}
