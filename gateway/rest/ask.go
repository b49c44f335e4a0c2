package rest

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
	"github.com/spatial-flow/spatial-flow/gateway/still"
)

// Kinds of content.
const (
	kindJSON   = "application/json"
	kindPNG    = "image/png"
	kindNDJSON = "application/x-ndjson"
	kindEvents = "text/event-stream"
)

// serveAsk answers POST /api/v1/predict until ctx ends.
func (a *API) serveAsk(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		kind := accepted(r, kindJSON, kindPNG)
		if kind == "" {
			a.metrics.refuse(doorPredict, reasonKind)
			writeProblem(w, r, http.StatusNotAcceptable, reasonKind, "answers are application/json, or, the depth map alone, image/png")
			return
		}
		read, err := bodyReader(r)
		if err != nil {
			a.metrics.refuse(doorPredict, reasonKind)
			w.Header().Set("Accept", "image/*, application/octet-stream, multipart/form-data")
			writeProblem(w, r, http.StatusUnsupportedMediaType, reasonKind, err.Error())
			return
		}
		question, err := predict.ParseQuestion(r.URL.Query())
		if err == nil {
			question.Depth = question.Depth || kind == kindPNG
			var scene *api.PictureScene
			if scene, err = a.predict.Scene(ctx, w, r, question, read); err == nil {
				w.Header().Add("Vary", "Accept")
				if kind == kindPNG {
					a.answerDepth(w, r, scene)
				} else {
					writeJSON(w, http.StatusOK, scene)
				}
				return
			}
		}
		writeRefusal(w, r, a.refusal(err))
	}
}

// bodyReader is how a body of the request's kind holds its picture.
func bodyReader(r *http.Request) (predict.Reader, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "multipart/form-data":
		return predict.Form, nil
	case err == nil && (strings.HasPrefix(kind, "image/") || kind == "application/octet-stream"):
		return predict.Raw, nil
	}
	return nil, fmt.Errorf("a body of %.80q: want an image/… (curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg') or a form (curl -F file=@picture.jpg)", r.Header.Get("Content-Type"))
}

// answerDepth answers with the depth map of a picture that was posted.
func (a *API) answerDepth(w http.ResponseWriter, r *http.Request, scene *api.PictureScene) {
	data, read, err := still.Depth(&scene.Depth.Map)
	if err != nil {
		writeProblem(w, r, http.StatusInternalServerError, reasonInternal, err.Error())
		return
	}
	writeDepth(w, scene.Frame, data, read)
}

// writeDepth answers with a depth map as a PNG, and how it is read.
func writeDepth(w http.ResponseWriter, frame api.Frame, data []byte, read depthmap.Map) {
	header := w.Header()
	header.Set("Spatialflow-Depth-Kind", string(read.Kind))
	header.Set("Spatialflow-Depth-Offset", strconv.FormatFloat(float64(read.Offset), 'g', -1, 32))
	header.Set("Spatialflow-Depth-Scale", strconv.FormatFloat(float64(read.Scale), 'g', -1, 32))
	writeStill(w, frame, kindPNG, data)
}

// writeStill answers with a picture of a frame.
func writeStill(w http.ResponseWriter, frame api.Frame, kind string, data []byte) {
	header := w.Header()
	header.Set("Spatialflow-Frame", frame.String())
	header.Set("Content-Type", kind)
	header.Set("Content-Length", strconv.Itoa(len(data)))
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(data) // fails when the caller is gone
}
