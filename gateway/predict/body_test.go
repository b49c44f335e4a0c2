package predict

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
)

// line is a connection on which so many bytes come every second, and whose reads end at a deadline.
type line struct {
	each, left int
	deadline   time.Time
}

func (l *line) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	next := time.Now().Add(time.Second)
	if !l.deadline.IsZero() && l.deadline.Before(next) {
		time.Sleep(time.Until(l.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(time.Second)
	n := min(len(p), l.each, l.left)
	l.left -= n
	return n, nil
}

func (l *line) body(memory *semaphore.Weighted) *body {
	r := httptest.NewRequest(http.MethodPost, "/predict", l)
	return &body{
		request: r, from: r.Body, memory: memory, began: time.Now(),
		until: func(at time.Time) error { l.deadline = at; return nil },
	}
}

// A caller may be slow, but not for ever: 64 KB a second after 5 s.
func TestLeastRate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		each, size int
		slow       bool
	}{
		{leastRate, 4 << 20, false},
		{leastRate / 2, 4 * leastRate, false}, // 8 s, of which 5 are grace
		{leastRate / 2, 4 << 20, true},
		{1, 4 << 20, true},
		{0, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			memory := semaphore.NewWeighted(bodyMemory)
			began := time.Now()
			b := (&line{each: test.each, left: test.size}).body(memory)
			data, err := b.all(b)
			var no Refusal
			if slow := errors.As(err, &no) && no.Code == http.StatusRequestTimeout; slow != test.slow || !slow && (err != nil || len(data) != test.size) {
				t.Errorf("%d of %d bytes a second: %d, %v", test.each, test.size, len(data), err)
			}
			if took := time.Since(began); test.slow && took > 3*sendGrace {
				t.Errorf("%d bytes a second are taken for %v", test.each, took)
			}
			b.release()
			if !memory.TryAcquire(bodyMemory) {
				t.Error("memory is left behind")
			}
		})
	}
}

// Memory is taken for what has come, and not waited for longer than a turn; a caller is not slow while it waits.
func TestBodyMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := semaphore.NewWeighted(bodyMemory)
		b := (&line{each: 1 << 20, left: 1 << 20}).body(memory)
		if data, err := b.all(b); err != nil || len(data) != 1<<20 || b.held < 1<<20 || b.held > 3<<20 {
			t.Errorf("%d bytes, %d held, %v", len(data), b.held, err)
		}
		b.release()
		if !memory.TryAcquire(bodyMemory) {
			t.Fatal("memory is left behind")
		}
		b = (&line{each: 1, left: 1}).body(memory)
		began := time.Now()
		var no Refusal
		if _, err := b.all(b); !errors.As(err, &no) || no.Code != http.StatusServiceUnavailable || time.Since(began) != turnWithin {
			t.Errorf("no memory: %v after %v", err, time.Since(began))
		}
		b = (&line{each: leastRate, left: 8 * leastRate}).body(memory)
		time.AfterFunc(turnWithin-time.Millisecond, func() { memory.Release(bodyMemory) })
		if data, err := b.all(b); err != nil || len(data) != 8*leastRate {
			t.Errorf("memory after a while: %d bytes, %v", len(data), err)
		}
	})
}

// What exceeds the bound is not kept, however it is announced.
func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	for size, fits := range map[int]bool{maxBody: true, maxBody + 1: false, maxBody + 5<<20: false} {
		memory := semaphore.NewWeighted(bodyMemory)
		r := httptest.NewRequest(http.MethodPost, "/predict", bytes.NewReader(make([]byte, size)))
		b := newBody(httptest.NewRecorder(), r, memory)
		data, err := b.all(b)
		var no Refusal
		if fits && (err != nil || len(data) != size) || !fits && (!errors.As(err, &no) || no.Code != http.StatusRequestEntityTooLarge) || b.held > maxBody+1 {
			t.Errorf("%d bytes: %d, %d held, %v", size, len(data), b.held, err)
		}
	}
}
