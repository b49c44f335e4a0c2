// Package eval measures scenes against known truth: detection by COCO's average precision, depth by the usual error
// measures after alignment.
package eval

import (
	"cmp"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Of COCO's evaluation: https://github.com/cocodataset/cocoapi/blob/master/PythonAPI/pycocotools/cocoeval.py (Params).
const (
	iouSteps      = 10  // IoU thresholds .50, .55, … .95
	recallSteps   = 101 // recall thresholds 0, .01, … 1
	maxDetections = 100 // of a class that count in a picture, the best by score
)

// Truth is one true box.
type Truth struct {
	Label    string
	Box      [4]float32 // x1, y1, x2, y2 in pixels of the picture
	Instance uint32     // the same thing in all frames of a source
	Distance float64    // metres along the optical axis
	// Ignored boxes need not be found, and who finds them makes no mistake.
	Ignored bool
}

// Precision gathers the detections of many pictures and computes their average precision as COCO defines it.
type Precision struct {
	// Countable, unless nil, says whether a detection that matches nothing is a mistake: COCO leaves out those that are
	// outside of the range of sizes that is judged.
	Countable func(flow.Detection) bool

	classes map[string]*class
}

type class struct {
	truths     int // that are not ignored
	detections []judged
}

// judged is one detection: at each IoU threshold it is right, wrong, or ignored.
type judged struct {
	score   float32
	right   [iouSteps]bool
	ignored [iouSteps]bool
}

func threshold(step int) float64 { return 0.5 + 0.05*float64(step) }

// Add judges the detections of one picture.
func (p *Precision) Add(truths []Truth, detections []flow.Detection) {
	if p.classes == nil {
		p.classes = map[string]*class{}
	}
	labels := map[string]bool{}
	for _, t := range truths {
		labels[t.Label] = true
	}
	for _, d := range detections {
		labels[d.Label] = true
	}
	for label := range labels {
		p.addClass(label, truths, detections)
	}
}

func (p *Precision) addClass(label string, truths []Truth, detections []flow.Detection) {
	c := p.classes[label]
	if c == nil {
		c = new(class)
		p.classes[label] = c
	}
	truths = slices.DeleteFunc(slices.Clone(truths), func(t Truth) bool { return t.Label != label })
	slices.SortStableFunc(truths, func(a, b Truth) int { return boolInt(a.Ignored) - boolInt(b.Ignored) })
	for _, t := range truths {
		c.truths += 1 - boolInt(t.Ignored)
	}
	detections = slices.DeleteFunc(slices.Clone(detections), func(d flow.Detection) bool { return d.Label != label })
	slices.SortStableFunc(detections, func(a, b flow.Detection) int { return cmp.Compare(b.Score, a.Score) })
	detections = detections[:min(len(detections), maxDetections)]
	var taken [iouSteps][]bool
	for step := range taken {
		taken[step] = make([]bool, len(truths))
	}
	for _, d := range detections {
		j := judged{score: d.Score}
		for step := range iouSteps {
			match := bestMatch(d, truths, taken[step], threshold(step))
			if match < 0 {
				j.ignored[step] = p.Countable != nil && !p.Countable(d)
				continue
			}
			taken[step][match] = true
			j.right[step], j.ignored[step] = !truths[match].Ignored, truths[match].Ignored
		}
		c.detections = append(c.detections, j)
	}
}

// bestMatch is the truth, not taken yet, with the largest IoU of at least least, and of equals the last; an ignored one
// only when no other is there. truths has the ignored ones last. -1: none.
func bestMatch(d flow.Detection, truths []Truth, taken []bool, least float64) int {
	best := -1
	for i, t := range truths {
		if taken[i] {
			continue
		}
		if best >= 0 && !truths[best].Ignored && t.Ignored {
			break
		}
		if iou := flow.IoU[float64](d.Box, t.Box); iou >= least {
			best, least = i, iou
		}
	}
	return best
}

// ClassPrecision is the average precision of one class.
type ClassPrecision struct {
	Label  string  `json:"label"`
	Truths int     `json:"truths"`
	AP50   float64 `json:"ap50"`    // at IoU .50
	AP5095 float64 `json:"ap50_95"` // mean over IoU .50:.95
}

// Classes lists the classes that have truths, by label.
func (p *Precision) Classes() []ClassPrecision {
	var all []ClassPrecision
	for label, c := range p.classes {
		if c.truths == 0 {
			continue
		}
		slices.SortStableFunc(c.detections, func(a, b judged) int { return cmp.Compare(b.score, a.score) })
		row := ClassPrecision{Label: label, Truths: c.truths, AP50: c.average(0)}
		for step := range iouSteps {
			row.AP5095 += c.average(step) / iouSteps
		}
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b ClassPrecision) int { return cmp.Compare(a.Label, b.Label) })
	return all
}

// Mean is the mean average precision over the classes that have truths: at IoU .50, and over IoU .50:.95.
func (p *Precision) Mean() (at50, at5095 float64) {
	classes := p.Classes()
	for _, c := range classes {
		at50 += c.AP50 / float64(len(classes))
		at5095 += c.AP5095 / float64(len(classes))
	}
	return at50, at5095
}

// average is the class's average precision at an IoU threshold: the mean, over the recall thresholds, of the best
// precision at that recall or a higher one. The detections are in order of their scores.
func (c *class) average(step int) float64 {
	var precision, recall []float64
	right, wrong := 0, 0
	for _, d := range c.detections {
		switch {
		case d.ignored[step]:
			continue
		case d.right[step]:
			right++
		default:
			wrong++
		}
		precision = append(precision, float64(right)/float64(right+wrong))
		recall = append(recall, float64(right)/float64(c.truths))
	}
	for i := len(precision) - 2; i >= 0; i-- {
		precision[i] = max(precision[i], precision[i+1])
	}
	sum, at := 0.0, 0
	for r := range recallSteps {
		for at < len(recall) && recall[at] < float64(r)*0.01 {
			at++
		}
		if at == len(recall) {
			break
		}
		sum += precision[at]
	}
	return sum / recallSteps
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
