package flow_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestAccountCheck(t *testing.T) {
	reasons := func(a, b uint64) map[string]uint64 { return map[string]uint64{"busy": a, "expired": b} }
	good := flow.Account{
		Captured: 100, Skipped: reasons(20, 10), Admitted: 70,
		Complete: 40, Partial: 10, Error: 5, Dropped: reasons(3, 2), InFlight: 10,
	}
	rest := good
	rest.Complete, rest.InFlight = 50, 0
	for _, test := range []struct {
		name           string
		account        flow.Account
		change         func(*flow.Account)
		moving, atRest bool
	}{
		{"nothing yet", flow.Account{}, nil, true, true},
		{"in motion", good, nil, true, false},
		{"at rest", rest, nil, true, true},
		{"a skip was not counted", rest, func(a *flow.Account) { a.Skipped = reasons(20, 9) }, false, false},
		{"a skip was counted twice", rest, func(a *flow.Account) { a.Skipped = reasons(20, 11) }, false, false},
		{"a frame was captured twice", rest, func(a *flow.Account) { a.Captured++ }, false, false},
		{"an admitted frame is gone", rest, func(a *flow.Account) { a.Complete-- }, false, false},
		{"a frame ended twice", rest, func(a *flow.Account) { a.Partial++ }, false, false},
		{"a drop was not counted", rest, func(a *flow.Account) { a.Dropped = nil }, false, false},
		{"an error was not counted", rest, func(a *flow.Account) { a.Error = 0 }, false, false},
		{"a frame is in flight and ended", good, func(a *flow.Account) { a.InFlight++ }, false, false},
		{"admitted but never captured", flow.Account{Admitted: 1, Complete: 1}, nil, false, false},
		{"a loss never hides in flight", rest, func(a *flow.Account) { a.Complete--; a.InFlight++ }, true, false},
	} {
		account := test.account
		if test.change != nil {
			test.change(&account)
		}
		if err := account.Check(); test.moving != (err == nil) || !test.moving && !errors.Is(err, flow.ErrAccount) {
			t.Errorf("%s: Check says %v, want balanced %v", test.name, err, test.moving)
		}
		if err := account.CheckAtRest(); test.atRest != (err == nil) || !test.atRest && !errors.Is(err, flow.ErrAccount) {
			t.Errorf("%s: CheckAtRest says %v, want balanced %v", test.name, err, test.atRest)
		}
	}
}

func TestAliveSurvivesTheWire(t *testing.T) {
	sent := flow.Alive{
		Stage: "producer", Instance: "01K7E5", Host: "edge-1", Rate: 12.5, WaitMS: 3, Busy: 0.5,
		Sources: []flow.SourceStatus{{
			Source: "cam1", Session: "run1", URI: "file:///street.mp4", Mode: flow.ModeLossless, State: flow.StateFailed, Reason: "torn",
			Frames: 100, Account: flow.Account{Captured: 3, Skipped: map[string]uint64{"busy": 1}, Admitted: 2, Complete: 1, InFlight: 1},
		}},
	}
	data, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	received, err := flow.ParseAlive(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, received); diff != "" {
		t.Errorf("alive changed on the wire (-sent +received):\n%s", diff)
	}
}

func TestParseAliveBounds(t *testing.T) {
	// JSON of exactly n bytes.
	padded := func(n int) []byte {
		const frame = `{"stage":"detect","later":""}`
		return []byte(strings.Replace(frame, `""`, `"`+strings.Repeat("h", n-len(frame))+`"`, 1))
	}
	for _, test := range []struct {
		name string
		data []byte
		good bool
	}{
		{"as long as it may be", padded(flow.MaxAliveBytes), true},
		{"unknown keys", []byte(`{"stage":"detect","later":{"x":[1]}}`), true},
		{"one byte longer", padded(flow.MaxAliveBytes + 1), false},
		{"nothing", nil, false},
		{"no JSON", []byte("alive"), false},
		{"list", []byte("[]"), false},
		{"two values", []byte("{} {}"), false},
		{"negative count", []byte(`{"sources":[{"account":{"captured":-1}}]}`), false},
		{"a source as it should be", []byte(`{"sources":[{"source":"a","session":"s","mode":"live","state":"running"}]}`), true},
		{"a source of no name", []byte(`{"sources":[{"mode":"live"}]}`), false},
		{"a session with dots", []byte(`{"sources":[{"source":"a","session":"s.t"}]}`), false},
		{"unknown mode", []byte(`{"sources":[{"source":"a","mode":"dead"}]}`), false},
		{"unknown state", []byte(`{"sources":[{"source":"a","state":"<b>"}]}`), false},
		{"a long name", []byte(`{"stage":"` + strings.Repeat("x", 257) + `"}`), false},
		{"long reason", []byte(`{"sources":[{"source":"a","reason":"` + strings.Repeat("x", 1025) + `"}]}`), false},
		{"long URI", []byte(`{"sources":[{"source":"a","uri":"` + strings.Repeat("x", 4201) + `"}]}`), false},
		{"rate that overflows", []byte(`{"rate":1e200}`), false},
		{"negative wait", []byte(`{"wait_ms":-1}`), false},
		{"huge parallel", []byte(`{"parallel":2000000000}`), false},
		{"nested deep", bytes.Repeat([]byte("["), flow.MaxAliveBytes), false},
	} {
		_, err := flow.ParseAlive(test.data)
		if test.good != (err == nil) || !test.good && !errors.Is(err, flow.ErrMessage) {
			t.Errorf("%s: %v, want good %v", test.name, err, test.good)
		}
	}
}

func FuzzParseAlive(f *testing.F) {
	f.Add([]byte(`{"stage":"detect","instance":"a","rate":1e3,"busy":0.5}`))
	f.Add([]byte(`{"sources":[{"source":"cam1","account":{"captured":1,"skipped":{"busy":1}}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		alive, err := flow.ParseAlive(data)
		if err != nil {
			if !errors.Is(err, flow.ErrMessage) {
				t.Errorf("%q: %v, want ErrMessage", data, err)
			}
			return
		}
		if _, err := json.Marshal(alive); err != nil {
			t.Errorf("%q was read, but can't be written: %v", data, err)
		}
	})
}

// Who may publish for one stage does not speak for another.
func TestAliveOfAnother(t *testing.T) {
	t.Parallel()
	data := []byte(`{"stage":"detect","instance":"i1"}`)
	if alive, err := flow.ParseAliveOf("alive.detect.i1", data); err != nil || alive.Stage != "detect" {
		t.Errorf("%+v, %v", alive, err)
	}
	for _, subject := range []string{"alive.depth.i1", "alive.detect.i2", "alive.detect", "blue.alive.detect.i1"} {
		if _, err := flow.ParseAliveOf(subject, data); !errors.Is(err, flow.ErrMessage) {
			t.Errorf("%s: %v", subject, err)
		}
	}
}
