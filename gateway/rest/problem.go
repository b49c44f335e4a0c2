package rest

import (
	"encoding/json"
	"net/http"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// Reasons of problems, beside those that [predict.Refusal] has. Some are also reasons of spatialflow_refused_total.
const (
	reasonHost      = "host"
	reasonOrigin    = "origin"
	reasonMethod    = "method"
	reasonNotFound  = "not_found"
	reasonNoSource  = "no_source"
	reasonNoScene   = "no_scene"
	reasonFull      = "full"
	reasonUpgrade   = "upgrade"
	reasonInternal  = "internal"
	reasonStopping  = "stopping"
	reasonNothing   = "nothing" // nothing of the source that is asked for
	reasonMalformed = "malformed"
	reasonPicture   = "picture"
	reasonKind      = "content" // a kind of content that is not taken, or not made
)

// statusClientGone and above are not the caller's mistake: it is gone, or the service fails.
const statusClientGone = 499

func writeProblem(w http.ResponseWriter, r *http.Request, code int, reason, detail string) {
	title := http.StatusText(code)
	if title == "" {
		title = "Client Closed Request" // 499
	}
	w.Header().Set("Content-Type", "application/problem+json")
	now := askedOf(r)
	write(w, code, api.Problem{Type: "about:blank", Title: title, Status: code, Detail: detail, Instance: now.path, Reason: reason, Message: detail, RequestID: now.id})
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, code, value)
}

func write(w http.ResponseWriter, code int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		code, data = http.StatusInternalServerError, []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"reason":"internal","error":"the answer can't be encoded"}`)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n')) // fails when the caller is gone
}
