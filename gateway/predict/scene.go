package predict

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// Question is what is asked about a picture.
type Question struct {
	Groups     []string // that have to answer; empty: those that the deployment requires
	Classes    []string // labels in lower case; empty: all
	Confidence float32  // of boxes, at least; the models' own bound holds too
	Depth      bool     // the depth map comes along
}

// ParseQuestion reads the address of POST /api/v1/predict. A [Refusal] is returned when it asks for something else.
func ParseQuestion(values url.Values) (q Question, err error) {
	for key, given := range values {
		last := given[len(given)-1]
		switch key {
		case "groups":
			q.Groups = words(given)
		case "classes":
			q.Classes = words(given)
		case "confidence":
			at, err := strconv.ParseFloat(last, 32)
			if err != nil || math.IsNaN(at) || at < 0 || at > 1 {
				return q, refused(http.StatusBadRequest, reasonMalformed, "confidence %.40q is not 0 to 1", last)
			}
			q.Confidence = float32(at)
		case "depth":
			if q.Depth, err = strconv.ParseBool(last); err != nil {
				return q, refused(http.StatusBadRequest, reasonMalformed, "depth %.40q is neither true nor false", last)
			}
		default:
			return q, refused(http.StatusBadRequest, reasonMalformed, "unknown parameter %.40q: there are groups, classes, confidence and depth", key)
		}
	}
	return q, nil
}

// words are those of lists, in lower case.
func words(lists []string) (all []string) {
	for _, list := range lists {
		for _, word := range strings.Split(list, ",") {
			if word = strings.ToLower(strings.TrimSpace(word)); word != "" {
				all = append(all, word)
			}
		}
	}
	return all
}

// Scene answers a request of POST /api/v1/predict, within ctx. A [Refusal] is returned for what is refused.
func (p *Predictor) Scene(ctx context.Context, w http.ResponseWriter, r *http.Request, q Question, read Reader) (*api.PictureScene, error) {
	found, err := p.Carry(ctx, w, r, q.Groups, read)
	if err != nil {
		return nil, err
	}
	scene := found.Scene
	answer := &api.PictureScene{Scene: scene.JSON()}
	answer.Size = [2]int{found.Width, found.Height}
	answer.Detections = slices.DeleteFunc(found.boxes(), func(d api.Detection) bool {
		return d.Score < q.Confidence || len(q.Classes) > 0 && !slices.Contains(q.Classes, strings.ToLower(d.Label))
	})
	if !q.Depth {
		return answer, nil
	}
	if scene.Depth == nil && len(q.Groups) > 0 { // asked again, it would be the same
		return nil, refused(http.StatusBadRequest, reasonMalformed, "a depth map is wanted, but none of the groups that are asked makes one: %s", strings.Join(scene.Plan, ", "))
	}
	if scene.Depth == nil {
		return nil, refused(http.StatusServiceUnavailable, reasonNoWorker, "no group makes depth maps: on are %s", strings.Join(scene.Plan, ", "))
	}
	answer.Depth = &api.PackedDepth{Map: *scene.Depth, Range: scene.Range, Packed: scene.Depth.Data}
	return answer, nil
}

// boxes are the scene's in pixels of the picture that was posted.
func (f *Found) boxes() []api.Detection {
	scaleX, scaleY := float32(f.Width)/float32(max(f.Scene.Width, 1)), float32(f.Height)/float32(max(f.Scene.Height, 1))
	all := make([]api.Detection, len(f.Scene.Detections))
	for i, d := range f.Scene.Detections {
		d.Box = [4]float32{d.Box[0] * scaleX, d.Box[1] * scaleY, d.Box[2] * scaleX, d.Box[3] * scaleY}
		all[i] = d
	}
	return all
}
