package detect

import (
	"cmp"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Candidate is a box that scored, in letterbox pixels.
type Candidate struct {
	Box   [4]float32 // x1, y1, x2, y2
	Score float32
	Class int
}

// maxCandidates is how many of the best go into suppression (Ultralytics, utils/nms.py, max_nms).
const maxCandidates = 30000

// DecodeHead appends to dst the candidates of a raw YOLOv8 head: output is [4+classes, anchors], rows of centre x,
// centre y, width, height in letterbox pixels, then a row of scores per class. An anchor's best class counts, and
// only with a score above confidence. Candidates come in the anchors' order.
func DecodeHead(dst []Candidate, best *Best, output []float32, classes, anchors int, confidence float32) []Candidate {
	best.find(output[4*anchors:], classes, anchors)
	cx, cy, w, h := output[:anchors], output[anchors:2*anchors], output[2*anchors:3*anchors], output[3*anchors:4*anchors]
	for i, score := range best.scores {
		if !(score > confidence) {
			continue
		}
		dst = append(dst, Candidate{
			Box:   [4]float32{cx[i] - w[i]/2, cy[i] - h[i]/2, cx[i] + w[i]/2, cy[i] + h[i]/2},
			Score: score, Class: int(best.classes[i]),
		})
	}
	return dst
}

// Best holds, for every anchor, its best class: memory that is used again from frame to frame.
type Best struct {
	scores  []float32
	classes []int32
}

// find walks the rows as they lie in memory; of equal scores the lower class wins, and over all of them one that is no number.
func (b *Best) find(rows []float32, classes, anchors int) {
	b.scores = append(b.scores[:0], rows[:anchors]...)
	b.classes = slices.Grow(b.classes[:0], anchors)[:anchors]
	clear(b.classes)
	scores, bestClass := b.scores, b.classes[:len(b.scores)]
	for c := 1; c < classes; c++ {
		for i, score := range rows[c*anchors:][:len(scores)] {
			if !(score <= scores[i]) && scores[i] == scores[i] {
				scores[i], bestClass[i] = score, int32(c)
			}
		}
	}
}

// Suppress is non-maximum suppression, class by class: of two boxes of a class whose IoU is above limit the one with
// the lower score goes; equal scores keep the earlier anchor. At most most boxes stay, the best first. It sorts and
// reuses candidates (torchvision.ops.nms, as Ultralytics' utils/nms.py calls it).
func Suppress(candidates []Candidate, limit float32, most int) []Candidate {
	slices.SortStableFunc(candidates, func(a, b Candidate) int { return cmp.Compare(b.Score, a.Score) })
	if len(candidates) > maxCandidates {
		candidates = candidates[:maxCandidates]
	}
	kept := candidates[:0]
	for _, c := range candidates {
		if len(kept) == most {
			break
		}
		if !slices.ContainsFunc(kept, func(k Candidate) bool { return k.Class == c.Class && flow.IoU[float32](k.Box, c.Box) > limit }) {
			kept = append(kept, c)
		}
	}
	return kept
}
