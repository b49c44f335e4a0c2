package drawing

import (
	"image"
	"testing"
)

// A label goes over its box, else under it, else inside it, never out of the picture nor over another label.
func TestPlaceLabel(t *testing.T) {
	t.Parallel()
	size, picture := image.Pt(40, 10), image.Pt(320, 180)
	for _, test := range []struct {
		name  string
		box   image.Rectangle
		taken []image.Rectangle
		want  image.Rectangle // empty: no room
	}{
		{"over", image.Rect(100, 50, 140, 90), nil, image.Rect(100, 40, 140, 50)},
		{"at the right edge", image.Rect(300, 50, 320, 90), nil, image.Rect(280, 40, 320, 50)},
		{"at the top", image.Rect(100, 5, 140, 90), nil, image.Rect(100, 90, 140, 100)},
		{"beside another", image.Rect(100, 50, 140, 90), []image.Rectangle{image.Rect(60, 40, 100, 50)}, image.Rect(100, 40, 140, 50)},
		{"over is taken", image.Rect(100, 50, 140, 90), []image.Rectangle{image.Rect(139, 49, 170, 60)}, image.Rect(100, 90, 140, 100)},
		{"as high as the picture", image.Rect(100, 0, 140, 180), nil, image.Rect(100, 0, 140, 10)},
		{"no room", image.Rect(100, 0, 140, 180), []image.Rectangle{image.Rect(0, 0, 320, 5)}, image.Rectangle{}},
	} {
		got, ok := placeLabel(test.box, size, picture, test.taken)
		if got != test.want || ok == test.want.Empty() {
			t.Errorf("%s: %v, %v, want %v", test.name, got, ok, test.want)
		}
	}
}
