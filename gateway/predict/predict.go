// Package predict carries pictures that are posted through the pipeline and answers with what was found on them.
package predict

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/picture"
)

const (
	maxBody      = 16 << 20         // of a picture that is posted
	bodyMemory   = 256 << 20        // of all that are in hand
	mapMemory    = 256 << 20        // of all depth maps that are made for answers, 3 bytes for each pixel of the picture
	formOverhead = 64 << 10         // what a form may take beside its picture
	bodyWithin   = 30 * time.Second // for a caller to send its picture
	maxForgotten = 128 << 20        // of a body that is too large, read to be able to say so
	fieldName    = "file"
)

// Reasons of spatialflow_refused_total.
const (
	reasonMalformed = "malformed"
	reasonFull      = "full"
	reasonTooLarge  = "too_large"
	reasonNoWorker  = "no_worker"
	reasonGone      = "gone"
	reasonTimeout   = "timeout"
)

// Refusal is an answer that is none: it goes to the caller as it is.
type Refusal struct {
	Code   int
	Reason string // of spatialflow_refused_total
	Text   string
}

func (r Refusal) Error() string { return r.Text }

func refused(code int, reason, format string, args ...any) error {
	return Refusal{code, reason, fmt.Sprintf(format, args...)}
}

// Predict answers a request of POST /predict, within ctx. A [Refusal] is returned for what is refused.
func (p *Predictor) Predict(ctx context.Context, w http.ResponseWriter, r *http.Request) (*api.Prediction, error) {
	query, err := parsePredictQuery(r.URL.Query())
	if err != nil {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "%v", err)
	}
	asked, err := p.ready()
	if err != nil {
		return nil, err
	}
	select {
	case p.queue <- struct{}{}:
		defer func() { <-p.queue }()
	default:
		return nil, refused(http.StatusServiceUnavailable, reasonFull, "%d callers wait already", cap(p.queue)-cap(p.turns))
	}
	begin, cancel := context.WithTimeout(r.Context(), turnWithin)
	defer cancel()
	size := int64(maxBody)
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	if p.memory.Acquire(begin, size) != nil {
		return nil, refused(http.StatusServiceUnavailable, reasonFull, "no memory for another picture within %v", turnWithin)
	}
	defer p.memory.Release(size)
	body, err := readPicture(w, r)
	if err != nil {
		return nil, err
	}
	// Sending the picture took the caller's time: the turn is waited for from now on.
	turn, cancelTurn := context.WithTimeout(r.Context(), turnWithin)
	defer cancelTurn()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-turn.Done():
		return nil, refused(http.StatusServiceUnavailable, reasonFull, "no turn within %v: %d pictures are under way", turnWithin, cap(p.turns))
	}
	convert, cancelConvert := context.WithTimeout(r.Context(), sceneWithin)
	defer cancelConvert()
	posted, err := p.converting.prepare(convert, body, p.bus.MaxMessage()-bus.FrameRoom)
	if errors.Is(err, picture.ErrBroken) || errors.Is(err, picture.ErrKind) {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	scene, err := p.ask(ctx, asked, posted)
	if err != nil {
		return nil, err
	}
	pixels := min(3*int64(posted.width)*int64(posted.height), mapMemory)
	if p.maps.Acquire(r.Context(), pixels) != nil {
		return nil, refused(statusClientGone, reasonGone, "the caller is gone")
	}
	defer p.maps.Release(pixels)
	return query.answer(scene, posted)
}

// statusClientGone is what nginx logs when a caller does not wait for its answer; nobody reads it.
const statusClientGone = 499

// readPicture reads the form's file.
func readPicture(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyWithin)) // without it a slow caller holds its place for longer
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	whole := r.Body
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody+formOverhead)
	form, err := r.MultipartReader()
	if err != nil {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "want multipart/form-data with the picture in the field %q (curl -F file=@picture.jpg): %v", fieldName, err)
	}
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil, refused(http.StatusBadRequest, reasonMalformed, "no field %q with the picture", fieldName)
		case err != nil:
			return nil, bodyRefusal(err, whole)
		case part.FormName() != fieldName:
			continue
		}
		body, err := io.ReadAll(io.LimitReader(part, maxBody+1))
		switch {
		case err != nil:
			return nil, bodyRefusal(err, whole)
		case len(body) > maxBody:
			return nil, bodyRefusal(&http.MaxBytesError{Limit: maxBody}, whole)
		case len(body) == 0:
			return nil, refused(http.StatusBadRequest, reasonMalformed, "the field %q is empty", fieldName)
		}
		return body, nil
	}
}

// bodyRefusal says why a body can't be read. What is too large is read on for a while and forgotten: a caller whose
// connection is closed while it still sends never sees the answer.
func bodyRefusal(err error, rest io.Reader) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		_, _ = io.CopyN(io.Discard, rest, maxForgotten)
		return refused(http.StatusRequestEntityTooLarge, reasonTooLarge, "the picture takes more than %d MiB", maxBody>>20)
	}
	return refused(http.StatusBadRequest, reasonMalformed, "read the form: %v", err)
}

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
			for _, list := range given {
				for _, class := range strings.Split(list, ",") {
					if class = strings.ToLower(strings.TrimSpace(class)); class != "" {
						q.classes = append(q.classes, class)
					}
				}
			}
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
func (q predictQuery) answer(scene *flow.Scene, picture sent) (*api.Prediction, error) {
	prediction := &api.Prediction{Detections: []api.PredictedBox{}}
	var values *rawDepth
	if scene.Depth != nil {
		var unpacker depthmap.Unpacker
		samples, err := unpacker.Unpack(scene.Depth)
		if err != nil {
			return nil, err
		}
		whole := resize(scene.Depth, samples, picture.width, picture.height)
		shown := whole
		if q.mapSize {
			shown = resize(scene.Depth, samples, scene.Depth.Width, scene.Depth.Height)
		}
		if prediction.DepthMap, err = shown.grey(); err != nil {
			return nil, err
		}
		values = &whole
	}
	scaleX, scaleY := float32(picture.width)/float32(max(scene.Width, 1)), float32(picture.height)/float32(max(scene.Height, 1))
	for _, d := range scene.Detections {
		if len(q.classes) > 0 && !slices.Contains(q.classes, strings.ToLower(d.Label)) {
			continue
		}
		box := api.PredictedBox{Box: d.Box, Score: d.Score, ClassID: d.ClassID, Label: d.Label}
		box.Box[0], box.Box[2] = box.Box[0]*scaleX, box.Box[2]*scaleX
		box.Box[1], box.Box[3] = box.Box[1]*scaleY, box.Box[3]*scaleY
		if values != nil {
			median := values.median(box.Box)
			box.DepthScore = &median
		}
		prediction.Detections = append(prediction.Detections, box)
	}
	return prediction, nil
}
