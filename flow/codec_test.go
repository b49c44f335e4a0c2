package flow_test

import (
	"bytes"
	"errors"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

func sampleFrame() *flow.Frame {
	return &flow.Frame{
		Version: flow.Wire, Source: "cam1", Session: "run1", Seq: 7, Mode: flow.ModeLossless,
		Captured: 1795461600000000000, Sent: 1795461600001000000, Width: 768, Height: 576,
		Plan: []string{"detect", "depth"}, Picture: []byte{0xff, 0xd8, 0xff}, Ledger: []flow.Hop{{Stage: "producer", Work: time.Millisecond}},
	}
}

func sampleResult() *flow.Result {
	return &flow.Result{
		Version: flow.Wire, Group: "detect", Source: "cam1", Session: "run1", Seq: 7, Mode: flow.ModeLossless,
		Width: 768, Height: 576, Plan: []string{"detect", "depth"}, Model: "yolov8n.onnx",
		Detections: []flow.Detection{{Label: "person", ClassID: 0, Score: 0.5, Box: [4]float32{1, 2, 3, 4}}},
		Depth:      &depthmap.Map{Width: 2, Height: 1, Kind: depthmap.Metric, Bits: 10, Scale: 1, Data: []byte{1}},
		Ledger:     []flow.Hop{{Stage: "producer"}, {Stage: "detect"}},
	}
}

func sampleScene() *flow.Scene {
	return &flow.Scene{
		Version: flow.Wire, Source: "cam1", Session: "run1", Seq: 7, Mode: flow.ModeLossless, Plan: []string{"detect"},
		Outcome: flow.OutcomeError, Errors: map[string]string{"detect": "broken"}, Missing: []string{"depth"},
		Detections: []flow.Detection{{Label: "car", Depth: &flow.BoxDepth{Value: 3, Kind: depthmap.Metric, Nearness: 9}}},
		Range:      &depthmap.Range{Low: 1, High: 2}, Held: &flow.Held{Seq: 3, Age: time.Second}, Ledger: []flow.Hop{{Stage: "fuser"}},
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	roundTrip(t, sampleFrame(), new(flow.Frame))
	roundTrip(t, sampleResult(), new(flow.Result))
	roundTrip(t, sampleScene(), new(flow.Scene))
	roundTrip(t, &flow.Done{Version: 1, Session: "run1", Seq: 7, Wait: 1, Work: 2, Outcome: flow.OutcomeComplete}, new(flow.Done))
}

func roundTrip[M flow.Message](t *testing.T, sent, received M) {
	t.Helper()
	data, err := flow.Encode(nil, sent)
	if err != nil {
		t.Fatal(err)
	}
	if err := flow.Decode(data, received); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, received); diff != "" {
		t.Errorf("%T changed on the wire (-sent +received):\n%s", sent, diff)
	}
}

func TestDecodeIgnoresUnknownKeys(t *testing.T) {
	data, err := msgpack.Marshal(map[string]any{"v": 1, "src": "cam1", "ses": "a", "seq": 2, "later": map[string]any{"x": []int{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	var frame flow.Frame
	if err := flow.Decode(data, &frame); err != nil {
		t.Fatal(err)
	}
	if frame.Source != "cam1" || frame.Seq != 2 {
		t.Errorf("got %+v", frame)
	}
}

// Eight bytes that claim four thousand million elements took 24 GB in msgpack v5.4 (upstream issue 401).
func TestHostileLengthsAllocateNothing(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(256 << 20))
	nested := bytes.Repeat([]byte{0x91}, 100)
	for name, data := range map[string][]byte{
		"array of 2^32-1":    {0x81, 0xa1, 0x7a, 0xdd, 0xff, 0xff, 0xff, 0xff},
		"known key, 2^32-1":  {0x81, 0xa3, 'l', 'e', 'd', 0xdd, 0xff, 0xff, 0xff, 0xff},
		"map of 2^32-1":      {0xdf, 0xff, 0xff, 0xff, 0xff},
		"bin of 2^32-1":      {0x81, 0xa3, 'p', 'i', 'c', 0xc6, 0xff, 0xff, 0xff, 0xff},
		"string of 2^32-1":   {0xdb, 0xff, 0xff, 0xff, 0xff},
		"ext of 2^32-1":      {0xc9, 0xff, 0xff, 0xff, 0xff, 0x01},
		"nested 100 deep":    append(nested, 0xc0),
		"70,000 elements":    append([]byte{0xdd, 0, 1, 0x11, 0x70}, make([]byte, 70000)...),
		"empty":              {},
		"never used code":    {0xc1},
		"two values":         {0x80, 0x80},
		"map cut in its key": {0x81, 0xa5, 'a'},
		"length cut in two":  {0xdd, 0xff},
		"fixext cut":         {0xd8, 0x01},
		"float cut":          {0xcb, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := flow.Decode(data, new(flow.Frame)); !errors.Is(err, flow.ErrMessage) {
				t.Errorf("decoded to %v, want ErrMessage", err)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("allocated %d bytes for a message of %d", used, len(data))
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, encode := range []func() ([]byte, error){
		func() ([]byte, error) { return flow.Encode(nil, sampleFrame()) },
		func() ([]byte, error) { return flow.Encode(nil, sampleResult()) },
		func() ([]byte, error) { return flow.Encode(nil, sampleScene()) },
	} {
		data, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0x81, 0xa1, 0x7a, 0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		debug.SetMemoryLimit(256 << 20)
		var frame flow.Frame
		if flow.Decode(data, &frame) == nil && frame.Validate() == nil {
			roundTrip(t, &frame, new(flow.Frame))
		}
		var result flow.Result
		if flow.Decode(data, &result) == nil {
			_ = result.Validate()
		}
		var scene flow.Scene
		if flow.Decode(data, &scene) == nil && scene.Validate() == nil {
			if _, err := scene.AppendLine(nil); err != nil {
				t.Errorf("a valid scene has no JSON: %v", err)
			}
		}
		var done flow.Done
		_ = flow.Decode(data, &done)
	})
}

func BenchmarkCodec(b *testing.B) {
	frame := sampleFrame()
	frame.Picture = make([]byte, 100<<10)
	result := sampleResult()
	result.Detections = make([]flow.Detection, 20)
	result.Depth.Data = make([]byte, 60<<10)
	benchmarkMessage(b, "frame 100 KiB", frame, func() *flow.Frame { return new(flow.Frame) })
	benchmarkMessage(b, "result 60 KiB 20 boxes", result, func() *flow.Result { return new(flow.Result) })
}

func benchmarkMessage[M flow.Message](b *testing.B, name string, message M, empty func() M) {
	data, err := flow.Encode(nil, message)
	if err != nil {
		b.Fatal(err)
	}
	b.Run(name+"/encode", func(b *testing.B) {
		b.ReportAllocs()
		buffer := make([]byte, 0, len(data))
		for b.Loop() {
			if buffer, err = flow.Encode(buffer, message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(name+"/decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := flow.Decode(data, empty()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
