package provision

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestReaders(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	at := func(second float64) time.Time { return start.Add(time.Duration(second * float64(time.Second))) }
	type said struct {
		from, to float64 // once a second
		wire     int
	}
	for name, test := range map[string]struct {
		alive []said
		want  map[float64]int // what is known at that second
	}{
		"nobody":                      {nil, map[float64]int{1: 0, 20: 0}},
		"all read 2":                  {[]said{{0, 30, 2}, {0, 30, 2}}, map[float64]int{1: 0, 9: 0, 10: 2, 20: 2}},
		"one reads 1":                 {[]said{{0, 30, 2}, {0, 30, 1}}, map[float64]int{10: 1, 20: 1}},
		"one of before names none":    {[]said{{0, 30, 2}, {0, 30, 0}}, map[float64]int{10: 1, 20: 1}},
		"the one that reads 1 ends":   {[]said{{0, 90, 2}, {0, 12, 1}}, map[float64]int{12: 1, 22: 1, 56: 1, 57: 2}},
		"one that reads 1 is silent":  {[]said{{0, 90, 2}, {0, 12, 1}, {50, 90, 1}}, map[float64]int{49: 1, 57: 1, 90: 1}},
		"one that reads 1 comes late": {[]said{{0, 30, 2}, {15, 30, 1}}, map[float64]int{14: 2, 15: 1, 30: 1}},
		"one reads 3":                 {[]said{{0, 30, 2}, {0, 30, 3}}, map[float64]int{10: 2}},
		"all have ended":              {[]said{{0, 5, 2}}, map[float64]int{14: 2, 15: 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r readers
			r.begin(start)
			for second := range 91 {
				for i, one := range test.alive {
					if float64(second) >= one.from && float64(second) <= one.to {
						data, err := json.Marshal(flow.Alive{Stage: "fuser", Wire: one.wire})
						if err != nil {
							t.Fatal(err)
						}
						r.hear(at(float64(second)), flow.AliveSubject("fuser", string(rune('a'+i))), data)
					}
				}
				if want, ok := test.want[float64(second)]; ok {
					if got := r.all(at(float64(second))); got != want {
						t.Errorf("at second %d all read %d, want %d", second, got, want)
					}
				}
			}
		})
	}
	var r readers
	r.begin(start)
	r.hear(at(1), "alive.fuser.a", []byte("{"))
	if got := r.all(at(10)); got != 1 {
		t.Errorf("one that can't be understood reads %d, want 1", got)
	}
	r.begin(at(10.5)) // the connection was away
	r.hear(at(11), "alive.fuser.b", []byte(`{"wire":2}`))
	if got := r.all(at(20)); got != 0 {
		t.Errorf("after a gap %d is known", got)
	}
	if got := r.all(at(20.5)); got != 2 {
		t.Errorf("10 s after a gap %d is known, want 2", got)
	}
}

func TestMoreReadersThanAreRemembered(t *testing.T) {
	t.Parallel()
	var r readers
	begin := time.Unix(1_800_000_000, 0)
	r.begin(begin)
	for i := range maxReaders + 1 {
		r.hear(begin.Add(9*time.Second), flow.AliveSubject("fuser", string(rune(i))), []byte(`{"wire":2}`))
	}
	if len(r.heard) != maxReaders || r.all(begin.Add(11*time.Second)) != 0 {
		t.Errorf("%d are remembered, and %d is known of all", len(r.heard), r.all(begin.Add(11*time.Second)))
	}
}
