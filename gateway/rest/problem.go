package rest

import (
	"encoding/json"
	"net/http"
)

// Problem is an answer that says why there is none: RFC 9457, as application/problem+json.
type Problem struct {
	Type     string `json:"type"` // about:blank: the status says what it is
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"` // the path that was asked for
	Reason   string `json:"reason"`   // a word for programs
	Error    string `json:"error"`    // the detail, under the key of older versions
}

// Reasons of problems, beside those that [predict.Refusal] has. Some are also reasons of spatialflow_refused_total.
const (
	reasonHost     = "host"
	reasonOrigin   = "origin"
	reasonMethod   = "method"
	reasonNotFound = "not_found"
	reasonNoSource = "no_source"
	reasonNoScene  = "no_scene"
	reasonFull     = "full"
	reasonUpgrade  = "upgrade"
	reasonInternal = "internal"
	reasonStopping = "stopping"
)

// statusClientGone and above are not the caller's mistake: it is gone, or the service fails.
const statusClientGone = 499

func writeProblem(w http.ResponseWriter, r *http.Request, code int, reason, detail string) {
	title := http.StatusText(code)
	if title == "" {
		title = "Client Closed Request" // 499
	}
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, code, Problem{Type: "about:blank", Title: title, Status: code, Detail: detail, Instance: r.URL.Path, Reason: reason, Error: detail})
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
