package eval

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// matched is the IoU from which a detection is taken to mean a true box, for its distance and its flicker.
const matched = 0.5

// Frame is one frame's truth and what the pipeline said of it.
type Frame struct {
	Source  string
	Seq     uint64
	Truths  []Truth
	Depth   []float32 // true metres along the optical axis, row by row, +Inf: sky
	Width   int
	Height  int
	Scene   *flow.Scene
	Samples []uint16 // of Scene.Depth; unused when there is none
}

// Evaluation gathers frames. Those of one source are added in order.
type Evaluation struct {
	// MinHeight, in pixels, is what a detection must have to be a mistake when it matches nothing.
	MinHeight float32

	frames, depthFrames int
	precision           Precision
	depth, constant     DepthError
	distances           []float64 // |distance − truth| / truth of each box found
	nearness            map[thing][]step
	truths              [][]Truth // of each frame, for the baseline's mean boxes
}

// thing is one object of one source.
type thing struct {
	source   string
	instance uint32
}

// step is a thing's nearness, in percent, in one frame.
type step struct {
	seq      uint64
	nearness float64
}

// Add takes one frame. An error is returned when depth and truth can't be compared.
func (e *Evaluation) Add(f Frame) error {
	if e.nearness == nil {
		e.nearness = map[thing][]step{}
		e.precision.Countable = func(d flow.Detection) bool { return d.Box[3]-d.Box[1] >= e.MinHeight }
	}
	e.frames++
	e.precision.Add(f.Truths, f.Scene.Detections)
	e.truths = append(e.truths, f.Truths)
	if f.Scene.Depth == nil {
		return nil
	}
	m := f.Scene.Depth
	values := make([]float32, f.Width*f.Height)
	for i, sample := range depthmap.Upsample(f.Samples, m.Width, m.Height, f.Width, f.Height) {
		values[i] = m.Value(sample)
	}
	alignment, depth, err := Align(values, f.Depth)
	if err != nil {
		return fmt.Errorf("frame %s: %w", f.Scene.ID(), err)
	}
	_, constant, err := Align(make([]float32, len(f.Depth)), f.Depth)
	if err != nil {
		return fmt.Errorf("frame %s: %w", f.Scene.ID(), err)
	}
	e.depthFrames++
	e.depth = DepthError{e.depth.AbsRel + depth.AbsRel, e.depth.Delta1 + depth.Delta1}
	e.constant = DepthError{e.constant.AbsRel + constant.AbsRel, e.constant.Delta1 + constant.Delta1}
	e.addObjects(f, alignment)
	return nil
}

// addObjects takes the depth of the boxes that were found.
func (e *Evaluation) addObjects(f Frame, alignment Alignment) {
	for _, t := range f.Truths {
		if t.Ignored {
			continue
		}
		best, at := -1, matched
		for i, d := range f.Scene.Detections {
			if iou := flow.IoU[float64](d.Box, t.Box); d.Label == t.Label && d.Depth != nil && iou >= at {
				best, at = i, iou
			}
		}
		if best < 0 {
			continue
		}
		found := f.Scene.Detections[best].Depth
		e.distances = append(e.distances, math.Abs(alignment.Metres(float64(found.Value))/t.Distance-1))
		key := thing{f.Source, t.Instance}
		e.nearness[key] = append(e.nearness[key], step{f.Seq, float64(found.Nearness)})
	}
}

// Score is how well detection and depth did.
type Score struct {
	MAP50   float64    `json:"map50"`
	MAP5095 float64    `json:"map50_95"`
	Depth   DepthError `json:"depth"`
}

// Report is the outcome of an evaluation.
type Report struct {
	Frames   int              `json:"frames"`
	Truths   int              `json:"truths"` // boxes that had to be found
	Pipeline Score            `json:"pipeline"`
	Baseline Score            `json:"baseline"` // the mean box of each class in every frame, and one depth everywhere
	Classes  []ClassPrecision `json:"classes"`
	// Distance is the median of |distance − truth| / truth over the boxes found, their depth aligned as their frame's.
	Distance float64 `json:"object_distance_error"`
	// Flicker is how much the nearness of a thing jumps between frames, in points of nearness: the mean of
	// |n₁ − 2n₂ + n₃| / 2 over three frames in a row, so that steady motion counts nothing.
	Flicker float64 `json:"nearness_flicker"`
	Matched int     `json:"boxes_with_depth"` // that Distance and Flicker rest on
}

// Report sums up.
func (e *Evaluation) Report() Report {
	r := Report{Frames: e.frames, Classes: e.precision.Classes(), Matched: len(e.distances)}
	for _, c := range r.Classes {
		r.Truths += c.Truths
	}
	r.Pipeline.MAP50, r.Pipeline.MAP5095 = e.precision.Mean()
	r.Baseline.MAP50, r.Baseline.MAP5095 = e.meanBoxes()
	if n := float64(e.depthFrames); n > 0 {
		r.Pipeline.Depth = DepthError{e.depth.AbsRel / n, e.depth.Delta1 / n}
		r.Baseline.Depth = DepthError{e.constant.AbsRel / n, e.constant.Delta1 / n}
	}
	if len(e.distances) > 0 {
		slices.Sort(e.distances)
		r.Distance = e.distances[len(e.distances)/2]
	}
	r.Flicker = e.flicker()
	return r
}

// meanBoxes is the precision of who says the mean box of each class in every frame.
func (e *Evaluation) meanBoxes() (at50, at5095 float64) {
	sums, counts := map[string][4]float64{}, map[string]float64{}
	for _, truths := range e.truths {
		for _, t := range truths {
			sum := sums[t.Label]
			for i, v := range t.Box {
				sum[i] += float64(v)
			}
			sums[t.Label] = sum
			counts[t.Label]++
		}
	}
	var boxes []flow.Detection
	for _, label := range slices.Sorted(maps.Keys(sums)) {
		d := flow.Detection{Label: label, Score: 1}
		for i, v := range sums[label] {
			d.Box[i] = float32(v / counts[label])
		}
		boxes = append(boxes, d)
	}
	var p Precision
	for _, truths := range e.truths {
		p.Add(truths, boxes)
	}
	return p.Mean()
}

func (e *Evaluation) flicker() float64 {
	sum, n := 0.0, 0
	for _, steps := range e.nearness {
		for i := 2; i < len(steps); i++ {
			if steps[i].seq != steps[i-2].seq+2 {
				continue
			}
			sum += math.Abs(steps[i-2].nearness-2*steps[i-1].nearness+steps[i].nearness) / 2
			n++
		}
	}
	return sum / float64(max(n, 1))
}
