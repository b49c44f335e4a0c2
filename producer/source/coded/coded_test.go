package coded_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/coded"
)

func TestClock(t *testing.T) {
	t.Parallel()
	const second = 90000
	hour := uint32(3600 * second)
	for name, test := range map[string]struct {
		stamps []uint32
		want   []time.Duration
	}{
		"steady":       {[]uint32{7, 7 + second, 7 + 2*second}, []time.Duration{0, time.Second, 2 * time.Second}},
		"B-frames":     {[]uint32{0, 3 * second, second, 2 * second}, []time.Duration{0, 3 * time.Second, time.Second, 2 * time.Second}},
		"runs over":    {[]uint32{1<<32 - second, second}, []time.Duration{0, 2 * time.Second}},
		"an hour back": {[]uint32{0, second, second - hour, 2*second - hour}, []time.Duration{0, time.Second, 1040 * time.Millisecond, 2040 * time.Millisecond}},
		"an hour on":   {[]uint32{0, second, second + hour, 2*second + hour}, []time.Duration{0, time.Second, 1040 * time.Millisecond, 2040 * time.Millisecond}},
	} {
		clock := coded.Clock{Rate: second}
		for i, stamp := range test.stamps {
			if got := clock.Time(stamp); got != test.want[i] {
				t.Errorf("%s: unit %d is at %v, want %v", name, i, got, test.want[i])
			}
		}
	}
}

// With auto, all cameras of a process go to key frames when one of them is late, whole groups of pictures at a time, and back when
// there was calm, which is longer each time that it went wrong.
func TestGate(t *testing.T) {
	t.Parallel()
	now, load := time.Unix(1e9, 0), new(coded.Load)
	one, other := coded.Gate{Decode: coded.DecodeAuto, Load: load}, coded.Gate{Decode: coded.DecodeAuto, Load: load}
	all, keys := coded.Gate{Decode: coded.DecodeAll, Load: load}, coded.Gate{Decode: coded.DecodeKeys, Load: load}
	takes := func(g *coded.Gate, key bool, age time.Duration, want bool) {
		t.Helper()
		if got := g.Takes(coded.Unit{Key: key, Arrived: now.Add(-age)}, now); got != want {
			t.Errorf("a unit, key %t, %v old, is taken: %t", key, age, got)
		}
	}
	takes(&one, true, 0, true)
	takes(&one, false, 900*time.Millisecond, true)
	takes(&keys, false, 0, false)
	takes(&keys, true, 0, true)
	takes(&one, false, 2*time.Second, false)
	takes(&other, false, 0, false)
	takes(&other, true, 0, true)
	takes(&other, true, 2*time.Second, false) // another key frame will come
	takes(&all, true, 0, true)
	takes(&all, false, 2*time.Second, true)
	for _, calm := range []time.Duration{15, 30, 60, 120, 240, 240} {
		now = now.Add(calm * time.Second)
		takes(&one, false, 0, false)
		now = now.Add(time.Second)
		takes(&one, false, 0, false) // what it refers to was passed over
		takes(&one, true, 0, true)
		takes(&one, false, 0, true)
		takes(&one, false, 2*time.Second, false)
		takes(&one, true, 0, true)
	}
	now = now.Add(241 * time.Second)
	takes(&one, true, 0, true)
	now = now.Add(10 * time.Minute) // long after: it begins anew
	takes(&one, false, 2*time.Second, false)
	now = now.Add(16 * time.Second)
	takes(&one, true, 0, true)
	takes(&one, false, 0, true)
}
