// Package label says what is written over a box, in which colour, and where, so that a picture, a video and a page show the same.
package label

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

// Text is what was found: "person 90%". A half is rounded up, here and below, as the viewer page does.
func Text(d api.Detection) string {
	return fmt.Sprintf("%s %.0f%%", d.Label, math.Round(100*float64(d.Score)))
}

// Near is how near it is: "near 81%", or "4.2 m" where the model says metres; empty when it is not known.
func Near(d *api.BoxDepth) string {
	switch {
	case d == nil:
		return ""
	case d.Kind == depthmap.Metric:
		return fmt.Sprintf("%.1f m", math.Round(10*float64(d.Value))/10)
	default:
		return fmt.Sprintf("near %.0f%%", math.Round(float64(d.Nearness)))
	}
}

// Texts are what may be written over a box, the best first.
func Texts(d api.Detection) [2]string {
	full := Text(d)
	if near := Near(d.Depth); near != "" {
		full += " " + near
	}
	return [2]string{full, d.Label}
}

// palette is the viewer page's too (web/colors.js).
var palette = [...]color.RGBA{
	{0x4c, 0xc9, 0xf0, 255}, {0x7a, 0xe5, 0x82, 255}, {0xff, 0xd1, 0x66, 255}, {0xff, 0x8f, 0xab, 255}, {0xb8, 0xa1, 0xff, 255},
	{0x5e, 0xea, 0xd4, 255}, {0xff, 0xab, 0x70, 255}, {0x9b, 0xd1, 0xff, 255}, {0xe3, 0xf2, 0x7a, 255}, {0xf4, 0xa6, 0xff, 255},
}

// Color is that of a class: the same in every frame.
func Color(classID int) color.RGBA { return palette[max(classID, 0)%len(palette)] }

// Bounds are a box in whole pixels, inside a picture of this size.
func Bounds(box [4]float32, picture image.Point) image.Rectangle {
	at := func(v float32, most int) int { return int(min(max(v, 0), float32(max(most-1, 0)))) }
	return image.Rect(at(box[0], picture.X), at(box[1], picture.Y), at(box[2], picture.X), at(box[3], picture.Y))
}

// Label is a text and where it goes.
type Label struct {
	Text  string
	Place image.Rectangle
	Color color.RGBA
}

const maxLabels = 512 // of a picture; each is compared with all before it

// Layout places the labels of boxes in a picture of this size, those of large boxes first, so that they stay where they
// are while small ones come and go. No label covers another: it is cut to the class, or left out. measure is the size of a
// label with a text.
func Layout(detections []api.Detection, picture image.Point, measure func(text string) image.Point) []Label {
	area := func(d api.Detection) float32 { return (d.Box[2] - d.Box[0]) * (d.Box[3] - d.Box[1]) }
	largest := slices.SortedStableFunc(slices.Values(detections), func(a, b api.Detection) int { return cmp.Compare(area(b), area(a)) })
	var placed []Label
	for _, d := range largest {
		if len(placed) == maxLabels {
			break
		}
		for _, text := range Texts(d) {
			if place, ok := placeFor(Bounds(d.Box, picture), measure(text), picture, placed); ok {
				placed = append(placed, Label{text, place, Color(d.ClassID)})
				break
			}
		}
	}
	return placed
}

// placeFor says where a label of this size goes that covers no other: over its box, under it, or inside it. It is not ok
// when there is no room.
func placeFor(box image.Rectangle, size, picture image.Point, placed []Label) (place image.Rectangle, ok bool) {
	left := max(0, min(box.Min.X, picture.X-size.X))
	for _, top := range [...]int{box.Min.Y - size.Y, box.Max.Y, box.Min.Y} {
		place = image.Rectangle{Min: image.Pt(left, top), Max: image.Pt(left, top).Add(size)}
		if top >= 0 && place.Max.Y <= picture.Y && !slices.ContainsFunc(placed, func(l Label) bool { return l.Place.Overlaps(place) }) {
			return place, true
		}
	}
	return image.Rectangle{}, false
}
