package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
	"github.com/spatial-flow/spatial-flow/client/label"
)

// What the page writes over a box is what pictures and videos have there (client/label), but for the room between the words,
// which their font has no signs for.
func TestPageLabelsAreThoseOfPictures(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	page := newBrowser(t)
	page.open("http://" + r.address + "/")
	ask[bool](page, `(import("./draw.js").then(m => window.drawing = m), true)`)
	page.await(`window.drawing`)
	near := func(kind depthmap.Kind, value, nearness float32) *api.BoxDepth {
		return &api.BoxDepth{Kind: kind, Value: value, Nearness: nearness}
	}
	for _, d := range []api.Detection{
		{Label: "person", Score: .9},
		{Label: "person", Score: 0},
		{Label: "person", Score: 1, Depth: near(depthmap.Relative, 4, 0)},
		{Label: "traffic light", Score: .125, Depth: near(depthmap.InverseRelative, 4, 62.5)}, // halves, which round up
		{Label: "a · b 5 %", Score: .875, Depth: near(depthmap.Relative, 4, 99.5)},
		{Label: "car", Score: .333, Depth: near(depthmap.Metric, 4.25, 81.4)},
		{Label: "car", Score: .666, Depth: near(depthmap.Metric, 0, 0)},
		{Label: "", Score: .5, Depth: near(depthmap.InverseRelative, 0, 100)},
	} {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := json.Unmarshal([]byte(ask[string](page, `JSON.stringify(drawing.labelTexts(`+string(text)+`, false))`)), &got); err != nil {
			t.Fatal(err)
		}
		full, found := strings.CutPrefix(got[0], d.Label)
		got[0] = d.Label + strings.NewReplacer(" · ", " ", " %", "%").Replace(full)
		want := label.Texts(d)
		if d.Label == "" { // the page leaves out what there is not, with the room after it
			want[0] = strings.TrimPrefix(want[0], " ")
		}
		if diff := cmp.Diff(want[:], got); diff != "" || !found {
			t.Errorf("%s: pictures (-) and the page (+) differ:\n%s", text, diff)
		}
		if brief := ask[string](page, `JSON.stringify(drawing.labelTexts(`+string(text)+`, true))`); brief != `["`+d.Label+`"]` {
			t.Errorf("%s: on a small screen %s, want its class alone", text, brief)
		}
	}
}
