package label

import (
	"image"
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		depth *api.BoxDepth
		want  string
	}{
		{nil, "person 90%"},
		{&api.BoxDepth{Kind: depthmap.InverseRelative, Value: 4, Nearness: 81.4}, "person 90% near 81%"},
		{&api.BoxDepth{Kind: depthmap.Relative, Value: 4, Nearness: 81.4}, "person 90% near 81%"},
		{&api.BoxDepth{Kind: depthmap.Metric, Value: 4.21, Nearness: 81.4}, "person 90% 4.2 m"},
		{&api.BoxDepth{Kind: depthmap.Relative, Value: 4, Nearness: 62.5}, "person 90% near 63%"}, // as the page rounds
		{&api.BoxDepth{Kind: depthmap.Metric, Value: 4.25, Nearness: 81.4}, "person 90% 4.3 m"},
	} {
		if got := Texts(api.Detection{Label: "person", Score: .9, Depth: test.depth}); got != [2]string{test.want, "person"} {
			t.Errorf("%+v: %q, want %q", test.depth, got, test.want)
		}
	}
}

// A label goes over its box, else under it, else inside it, never out of the picture nor over another label.
func TestPlace(t *testing.T) {
	t.Parallel()
	size, picture := image.Pt(40, 10), image.Pt(320, 180)
	for _, test := range []struct {
		name  string
		box   image.Rectangle
		taken []Label
		want  image.Rectangle // empty: no room
	}{
		{"over", image.Rect(100, 50, 140, 90), nil, image.Rect(100, 40, 140, 50)},
		{"at the right edge", image.Rect(300, 50, 320, 90), nil, image.Rect(280, 40, 320, 50)},
		{"at the top", image.Rect(100, 5, 140, 90), nil, image.Rect(100, 90, 140, 100)},
		{"beside another", image.Rect(100, 50, 140, 90), []Label{{Place: image.Rect(60, 40, 100, 50)}}, image.Rect(100, 40, 140, 50)},
		{"over is taken", image.Rect(100, 50, 140, 90), []Label{{Place: image.Rect(139, 49, 170, 60)}}, image.Rect(100, 90, 140, 100)},
		{"as high as the picture", image.Rect(100, 0, 140, 180), nil, image.Rect(100, 0, 140, 10)},
		{"no room", image.Rect(100, 0, 140, 180), []Label{{Place: image.Rect(0, 0, 320, 5)}}, image.Rectangle{}},
	} {
		got, ok := placeFor(test.box, size, picture, test.taken)
		if got != test.want || ok == test.want.Empty() {
			t.Errorf("%s: %v, %v, want %v", test.name, got, ok, test.want)
		}
	}
}

// Large boxes have their labels first, whose second text is tried when the first finds no room; what lies beyond the
// picture is at its edges, and there is a bound.
func TestLayout(t *testing.T) {
	t.Parallel()
	measure := func(text string) image.Point { return image.Pt(10*len(text), 10) }
	small := api.Detection{Label: "cat", ClassID: 1, Score: 1, Box: [4]float32{2, 20, 30, 40}}
	large := api.Detection{Label: "dog", ClassID: 11, Score: .5, Box: [4]float32{-1e30, 20, 3e38, 90}}
	got := Layout([]api.Detection{small, large}, image.Pt(100, 100), measure)
	want := []Label{{"dog 50%", image.Rect(0, 10, 70, 20), Color(1)}, {"cat 100%", image.Rect(2, 40, 82, 50), Color(1)}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Layout(make([]api.Detection, 100_000), image.Pt(100_000, 100_000), func(string) image.Point { return image.Pt(0, 0) }); len(got) != maxLabels {
		t.Errorf("%d labels, want %d", len(got), maxLabels)
	}
}
