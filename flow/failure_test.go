package flow_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
)

// What kind of error an answer's is travels in the result and in the scene; messages of those who do not tell are as before, and
// those who don't know the keys read the rest.
func TestFailureTravels(t *testing.T) {
	t.Parallel()
	result := &flow.Result{
		Version: flow.Wire, Group: flow.GroupDepth, Source: "a", Session: "s", Seq: 1, Mode: flow.ModeLive, Plan: []string{flow.GroupDepth},
		Error: "given up", Class: flow.ClassLost, Cause: flow.CauseKilled,
	}
	scene := &flow.Scene{
		Version: flow.Wire, Source: "a", Session: "s", Seq: 1, Mode: flow.ModeLive, Plan: []string{flow.GroupDepth}, Outcome: flow.OutcomeError,
		Detections: []flow.Detection{}, Errors: map[string]string{flow.GroupDepth: "given up"},
		Failures: map[string]flow.Failure{flow.GroupDepth: {Class: flow.ClassLost, Cause: flow.CauseKilled}},
	}
	data, err := flow.Encode(nil, result)
	if err != nil {
		t.Fatal(err)
	}
	got := new(flow.Result)
	if err := flow.Decode(data, got); err != nil || got.Validate() != nil || got.Failure() != result.Failure() {
		t.Errorf("result %+v, %v", got, err)
	}
	if data, err = flow.Encode(nil, scene); err != nil {
		t.Fatal(err)
	}
	read := new(flow.Scene)
	if err := flow.Decode(data, read); err != nil || read.Validate() != nil || !cmp.Equal(read.Failures, scene.Failures) {
		t.Errorf("scene %+v, %v", read, err)
	}
	var old struct {
		Seq uint64 `msgpack:"seq"`
	}
	if err := msgpack.Unmarshal(data, &old); err != nil || old.Seq != 1 {
		t.Errorf("an older reader: %+v, %v", old, err)
	}
	text, err := json.Marshal(scene.JSON())
	if want := `"failures":{"depth":{"class":"lost","cause":"killed"}}`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	scene.Failures = nil
	if text, err := json.Marshal(scene.JSON()); err != nil || strings.Contains(string(text), "failures") {
		t.Errorf("%s, %v", text, err)
	}
	long := flow.Failure{Class: flow.Class(strings.Repeat("x", 33))}
	result.Class = long.Class
	scene.Failures = map[string]flow.Failure{flow.GroupDepth: long}
	for _, message := range []interface{ Validate() error }{result, scene} {
		if err := message.Validate(); !errors.Is(err, flow.ErrMessage) {
			t.Errorf("a class that is none: %v", err)
		}
	}
}
