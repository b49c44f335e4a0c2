package live

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source"
)

// stamped is a film whose pictures have these time stamps, and take a while to be read.
type stamped struct {
	at   []time.Duration
	read time.Duration
}

func (s *stamped) Next(context.Context) (source.Picture, error) {
	if len(s.at) == 0 {
		return source.Picture{}, io.EOF
	}
	time.Sleep(s.read)
	p := source.Picture{At: s.at[0], Captured: time.Now()}
	s.at = s.at[1:]
	return p, nil
}

func (s *stamped) Skip(context.Context, uint64) error { panic("its pace is not even") }
func (s *stamped) Corrupt() uint64                    { return 0 }
func (s *stamped) Close() error                       { return nil }

// TestStampedPace plays films at their own pace, however uneven.
func TestStampedPace(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		at         []time.Duration
		read, work time.Duration
		want       []time.Duration // after the first: when each is taken; those left out are passed over
	}{
		"uneven":                      {at: []time.Duration{40 * ms, 80 * ms, 2000 * ms, 2010 * ms}, read: 5 * ms, want: []time.Duration{0, 40 * ms, 1960 * ms, 1970 * ms}},
		"read later than its time":    {at: []time.Duration{0, 10 * ms, 20 * ms, 30 * ms}, read: 12 * ms, want: []time.Duration{0, 12 * ms, 24 * ms, 36 * ms}},
		"too slow for all":            {at: []time.Duration{0, 10 * ms, 20 * ms, 30 * ms, 40 * ms, 50 * ms, 100 * ms}, work: 35 * ms, want: []time.Duration{0, 35 * ms, 100 * ms}},
		"stopped for a while":         {at: []time.Duration{0, 10 * ms, 20 * ms}, work: 5 * time.Second, want: []time.Duration{0, 5 * time.Second, 10 * time.Second}},
		"a time stamp that goes back": {at: []time.Duration{500 * ms, 400 * ms, 510 * ms}, want: []time.Duration{0, 10 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				src := &stamped{at: test.at, read: test.read}
				pace := newPace(source.Spec{}, source.Info{Stamped: true, FPS: 30})
				var began time.Time
				var taken []time.Duration
				for {
					p, err := pace.next(t.Context(), src)
					if err != nil {
						break
					}
					if began.IsZero() {
						began = time.Now()
					}
					if p.Captured.After(time.Now()) || time.Since(p.Captured) > 20*ms {
						t.Errorf("the picture of %v was captured %v ago", p.At, time.Since(p.Captured))
					}
					taken = append(taken, time.Since(began))
					time.Sleep(test.work)
				}
				if len(taken) != len(test.want) {
					t.Fatalf("taken at %v, want %v", taken, test.want)
				}
				for i := range taken {
					if taken[i] != test.want[i] {
						t.Errorf("taken at %v, want %v", taken, test.want)
						break
					}
				}
			})
		})
	}
}
