package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/manage"
)

const (
	doorManage = "manage" // of spatialflow_refused_total

	sourceWithin = 5 * time.Second // for a caller to send what a source is
)

// serveSources answers GET /api/v1/sources.
func (a *API) serveSources(w http.ResponseWriter, r *http.Request) {
	who := access.From(r.Context())
	writeJSON(w, http.StatusOK, api.Sources{Status: a.live.Status(who), Configuration: a.manage.List(who)})
}

// serveSource answers GET /api/v1/sources/{source}.
func (a *API) serveSource(w http.ResponseWriter, r *http.Request) {
	answer, who := api.OneSource{Source: r.PathValue("source")}, access.From(r.Context())
	for _, s := range a.live.Status(who).Sources {
		if s.Source == answer.Source {
			answer.Status = &s
		}
	}
	if s, there := a.manage.Find(who, answer.Source); there {
		answer.Configured = &s
	}
	if answer.Status == nil && answer.Configured == nil {
		writeProblem(w, r, http.StatusNotFound, reasonNoSource, fmt.Sprintf("no source %.80q", answer.Source))
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// putSource answers PUT /api/v1/sources/{source} with the source as it is configured then.
func (a *API) putSource(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(sourceWithin)) // a slow caller gets no answer then
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, configured.MaxMessage))
	_ = control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		err = manage.Refusal{Code: http.StatusRequestEntityTooLarge, Reason: "too_large", Text: fmt.Sprintf("what a source is takes at most %d KiB", configured.MaxMessage>>10)}
	case err != nil:
		err = manage.Refusal{Code: http.StatusBadRequest, Reason: "malformed", Text: fmt.Sprintf("read the body: %v", err)}
	}
	if err != nil {
		a.refuseSource(w, r, err)
		return
	}
	put, made, err := a.manage.Put(r.Context(), access.From(r.Context()), r.PathValue("source"), body)
	switch {
	case err != nil:
		a.refuseSource(w, r, err)
	case made:
		w.Header().Set("Location", url.PathEscape(put.Source)) // beside what was asked for, whatever stands before it
		writeJSON(w, http.StatusCreated, put)
	default:
		writeJSON(w, http.StatusOK, put)
	}
}

// deleteSource answers DELETE /api/v1/sources/{source} with nothing.
func (a *API) deleteSource(w http.ResponseWriter, r *http.Request) {
	if err := a.manage.Delete(r.Context(), access.From(r.Context()), r.PathValue("source")); err != nil {
		a.refuseSource(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) refuseSource(w http.ResponseWriter, r *http.Request, err error) {
	var no manage.Refusal
	if !errors.As(err, &no) {
		no = manage.Refusal{Code: http.StatusInternalServerError, Reason: reasonInternal, Text: err.Error()}
	}
	a.metrics.refuse(doorManage, no.Reason)
	if no.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeProblem(w, r, no.Code, no.Reason, no.Text)
}
