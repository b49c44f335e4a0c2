package delivery_test

import (
	"errors"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	change := func(with func(*flow.Result)) *flow.Result {
		r := answer("detect", 1)
		r.Partition = 5
		with(r)
		return r
	}
	for name, test := range map[string]struct {
		result *flow.Result
		want   error
	}{
		"a result":               {change(func(*flow.Result) {}), nil},
		"of the version before":  {change(func(r *flow.Result) { r.Version, r.Partition = 1, 0 }), flow.ErrNewer}, // a is in partition 0
		"of the next version":    {change(func(r *flow.Result) { r.Version++ }), flow.ErrNewer},
		"of another partition":   {change(func(r *flow.Result) { r.Partition++ }), flow.ErrNewer},
		"of another group":       {change(func(r *flow.Result) { r.Group = "depth" }), flow.ErrMessage},
		"of another mode":        {change(func(r *flow.Result) { r.Mode = flow.ModeLive }), flow.ErrMessage},
		"that nobody asked for":  {change(func(r *flow.Result) { r.Plan = []string{"depth"} }), flow.ErrMessage},
		"without a plan":         {change(func(r *flow.Result) { r.Plan = nil }), flow.ErrMessage},
		"of a version below one": {change(func(r *flow.Result) { r.Version = 0 }), flow.ErrMessage},
	} {
		data, err := flow.Encode(nil, test.result)
		if err != nil {
			t.Fatal(err)
		}
		d, err := delivery.Decode(&message{data: data, sequence: 9}, "detect", flow.ModeLossless, 5)
		if !errors.Is(err, test.want) || (test.want == nil) != (d != nil) {
			t.Errorf("%s: %v, %v; want %v", name, d, err, test.want)
		}
		if d != nil && (d.Size != len(data) || d.Sequence != 9 || d.Again) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for _, garbage := range [][]byte{nil, []byte("x"), {0x81, 0xa1, 0x76, 0x01}} {
		if _, err := delivery.Decode(&message{data: garbage}, "detect", flow.ModeLossless, 5); err == nil || errors.Is(err, flow.ErrNewer) {
			t.Errorf("% x: %v, want an error that is not ErrNewer", garbage, err)
		}
	}
}
