// Package predict carries pictures that are posted through the pipeline and answers with what was found on them.
package predict

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// mapMemory is for all depth maps that are made for answers, 3 bytes for each pixel of the picture.
const mapMemory = 256 << 20

// Predict answers a request of POST /predict, within ctx. A [Refusal] is returned for what is refused.
func (p *Predictor) Predict(ctx context.Context, w http.ResponseWriter, r *http.Request) (*api.Prediction, error) {
	query, err := parsePredictQuery(r.URL.Query())
	if err != nil {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "%v", err)
	}
	found, err := p.Carry(ctx, w, r, nil, Form)
	if err != nil {
		return nil, err
	}
	pixels := min(3*int64(found.Width)*int64(found.Height), mapMemory)
	if p.maps.Acquire(r.Context(), pixels) != nil {
		return nil, refused(statusClientGone, reasonGone, "the caller is gone")
	}
	defer p.maps.Release(pixels)
	return query.answer(found)
}

// statusClientGone is what nginx logs when a caller does not wait for its answer; nobody reads it.
const statusClientGone = 499

// predictQuery is what the address asks for.
type predictQuery struct {
	classes []string // lower-case labels; empty: all
	mapSize bool     // the depth map at its own size
}

func parsePredictQuery(values url.Values) (predictQuery, error) {
	var q predictQuery
	for key, given := range values {
		switch key {
		case "classes":
			q.classes = words(given)
		case "depth_size":
			switch given[len(given)-1] {
			case "map":
				q.mapSize = true
			case "picture":
			default:
				return q, fmt.Errorf("depth_size %.40q is neither picture nor map", given[len(given)-1])
			}
		default:
			return q, fmt.Errorf("unknown parameter %.40q: there are classes and depth_size", key)
		}
	}
	return q, nil
}

// answer makes what the caller gets. Boxes are mapped back to the picture that was posted.
func (q predictQuery) answer(found *Found) (*api.Prediction, error) {
	scene := found.Scene
	prediction := &api.Prediction{Detections: []api.PredictedBox{}}
	var values *rawDepth
	if scene.Depth != nil {
		var unpacker depthmap.Unpacker
		samples, err := unpacker.Unpack(scene.Depth)
		if err != nil {
			return nil, err
		}
		whole := resize(scene.Depth, samples, found.Width, found.Height)
		shown := whole
		if q.mapSize {
			shown = resize(scene.Depth, samples, scene.Depth.Width, scene.Depth.Height)
		}
		if prediction.DepthMap, err = shown.grey(); err != nil {
			return nil, err
		}
		values = &whole
	}
	for _, d := range found.boxes() {
		if len(q.classes) > 0 && !slices.Contains(q.classes, strings.ToLower(d.Label)) {
			continue
		}
		box := api.PredictedBox{Box: d.Box, Score: d.Score, ClassID: d.ClassID, Label: d.Label}
		if values != nil {
			median := values.median(box.Box)
			box.DepthScore = &median
		}
		prediction.Detections = append(prediction.Detections, box)
	}
	return prediction, nil
}
