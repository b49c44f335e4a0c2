package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/semaphore"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

const (
	maxBody      = 16 << 20  // of a picture that is posted
	bodyMemory   = 256 << 20 // of all that are in hand
	formOverhead = 64 << 10  // what a form may take beside its picture
	turnWithin   = 2 * time.Second
	sceneWithin  = 10 * time.Second
	bodyWithin   = 30 * time.Second // for a caller to send its picture
	maxForgotten = 128 << 20        // of a body that is too large, read to be able to say so
	fieldName    = "file"
)

// Prediction is the answer of POST /predict.
type Prediction struct {
	Detections []PredictedBox `json:"detections"`
	// DepthMap is a grey JPEG, in base64: the map of this picture from its least value (black) to its greatest (white),
	// at the picture's size, or, with ?depth_size=map, at its own. Null when no depth group is on.
	DepthMap []byte `json:"depth_map"`
}

// PredictedBox is one detection. DepthScore is the median of the depth map's values over the whole box, clipped to the
// picture: for relative maps a number without a unit. Null when no depth group is on.
type PredictedBox struct {
	Box        [4]float32 `json:"bbox"` // x1, y1, x2, y2 in pixels of the picture that was posted
	Score      float32    `json:"conf"`
	ClassID    int        `json:"class_id"`
	Label      string     `json:"label"`
	DepthScore *float32   `json:"depth_score"`
}

// predictor carries posted pictures through the pipeline, as a live source of its own.
type predictor struct {
	g          *gateway
	source     string
	session    string
	turns      chan struct{} // holds a token per picture under way
	queue      chan struct{} // holds a token per caller that waits or is served
	memory     *semaphore.Weighted
	converting converting

	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]*waiter
	heard   map[string]map[string]time.Time // by group and instance
	groups  flow.Groups
}

// waiter is one picture under way.
type waiter struct {
	scene    chan *flow.Scene // holds at most one
	answered map[string]bool  // groups that are done
	dropped  string           // why there will be no scene
}

func newPredictor(g *gateway) *predictor {
	return &predictor{
		g: g, source: flow.PredictPrefix + strings.ToLower(rand.Text()[:10]), session: ulid.Make().String(),
		turns: make(chan struct{}, g.cfg.PredictInflight), queue: make(chan struct{}, g.cfg.PredictQueue+g.cfg.PredictInflight),
		memory:  semaphore.NewWeighted(bodyMemory),
		waiting: map[uint64]*waiter{}, heard: map[string]map[string]time.Time{},
	}
}

// refusal is an answer that is none: it goes to the caller as it is.
type refusal struct {
	code   int
	reason string // of spatialflow_refused_total
	text   string
}

func (r refusal) Error() string { return r.text }

func refused(code int, reason, format string, args ...any) error {
	return refusal{code, reason, fmt.Sprintf(format, args...)}
}

// serve answers POST /predict.
func (p *predictor) serve(w http.ResponseWriter, r *http.Request) {
	prediction, err := p.predict(w, r)
	if err == nil {
		writeJSON(w, http.StatusOK, prediction)
		return
	}
	var no refusal
	if !errors.As(err, &no) {
		no = refusal{http.StatusInternalServerError, reasonFailed, err.Error()}
	}
	p.g.metrics.refuse(doorPredict, no.reason)
	if no.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeError(w, no.code, no.text)
}

func (p *predictor) predict(w http.ResponseWriter, r *http.Request) (*Prediction, error) {
	query, err := parsePredictQuery(r.URL.Query())
	if err != nil {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "%v", err)
	}
	groups, err := p.ready()
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
	picture, err := p.converting.prepare(body)
	if errors.Is(err, errPicture) {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	scene, err := p.ask(r.Context(), groups, picture)
	if err != nil {
		return nil, err
	}
	return query.answer(scene, picture)
}

// ready returns the groups, each of which has a worker.
func (p *predictor) ready() (flow.Groups, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.groups.On()) == 0 {
		return nil, refused(http.StatusServiceUnavailable, reasonNoWorker, "the pipeline is not there yet: no groups entry")
	}
	for _, g := range p.groups.On() {
		alive := 0
		for instance, at := range p.heard[g.Name] {
			if time.Since(at) > goneAfter {
				delete(p.heard[g.Name], instance)
				continue
			}
			alive++
		}
		if alive == 0 {
			return nil, refused(http.StatusServiceUnavailable, reasonNoWorker, "group %s has no worker", g.Name)
		}
	}
	return p.groups, nil
}

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

// ask publishes the picture as a live frame for all groups and waits for its scene.
func (p *predictor) ask(ctx context.Context, groups flow.Groups, picture sent) (*flow.Scene, error) {
	plan := make([]string, 0, len(groups))
	on := groups.On()
	slices.SortFunc(on, func(a, b flow.Group) int { return a.Slot - b.Slot })
	for _, g := range on {
		plan = append(plan, g.Name)
	}
	id, wait := p.begin()
	defer p.end(id.Seq)
	now := time.Now()
	frame := &flow.Frame{
		Version: flow.FrameVersion, Source: id.Source, Session: id.Session, Seq: id.Seq, Mode: flow.ModeLive,
		Captured: now.UnixNano(), Sent: now.UnixNano(), Width: picture.width, Height: picture.height, Plan: plan,
		Budget: sceneWithin, Picture: picture.jpeg, Ledger: []flow.Hop{{Stage: stage}},
	}
	if err := p.g.env.Bus.PublishFrame(ctx, groups, frame); err != nil {
		if errors.Is(err, bus.ErrFull) || errors.Is(err, bus.ErrNotProvisioned) {
			return nil, refused(http.StatusServiceUnavailable, reasonFull, "%v", err)
		}
		return nil, err
	}
	timer := time.NewTimer(sceneWithin)
	defer timer.Stop()
	select {
	case scene := <-wait.scene:
		return p.judge(id.Seq, plan, scene)
	case <-timer.C:
		return nil, p.unanswered(id.Seq, plan)
	case <-ctx.Done():
		return nil, refused(statusClientGone, reasonGone, "the caller is gone")
	}
}

// statusClientGone is what nginx logs when a caller does not wait for its answer; nobody reads it.
const statusClientGone = 499

func (p *predictor) begin() (flow.FrameID, *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	w := &waiter{scene: make(chan *flow.Scene, 1), answered: map[string]bool{}}
	p.waiting[p.seq] = w
	return flow.FrameID{Source: p.source, Session: p.session, Seq: p.seq}, w
}

func (p *predictor) end(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, seq)
}

// judge returns the scene when it has what was asked for.
func (p *predictor) judge(seq uint64, plan []string, scene *flow.Scene) (*flow.Scene, error) {
	switch {
	case scene == nil || len(scene.Missing) > 0:
		return nil, p.unanswered(seq, plan)
	case scene.Outcome == flow.OutcomeError:
		var reasons []string
		for group, reason := range scene.Errors {
			reasons = append(reasons, group+": "+reason)
		}
		slices.Sort(reasons)
		return nil, refused(http.StatusBadRequest, reasonMalformed, "the picture can't be looked at: %s", strings.Join(reasons, "; "))
	}
	return scene, nil
}

// unanswered names the groups that did not answer in time.
func (p *predictor) unanswered(seq uint64, plan []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[seq]
	missing := slices.DeleteFunc(slices.Clone(plan), func(group string) bool { return w.answered[group] })
	switch {
	case w.dropped != "":
		return refused(http.StatusGatewayTimeout, reasonTimeout, "the picture was dropped: %s", w.dropped)
	case len(missing) == 0:
		return refused(http.StatusGatewayTimeout, reasonTimeout, "the fuser has not answered within %v", sceneWithin)
	}
	return refused(http.StatusGatewayTimeout, reasonTimeout, "no answer of %s within %v", strings.Join(missing, ", "), sceneWithin)
}

// addScene hands a scene to whoever waits for it. It returns at once.
func (p *predictor) addScene(scene *flow.Scene) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.waiting[scene.Seq]; w != nil && scene.Source == p.source && scene.Session == p.session {
		select {
		case w.scene <- scene:
		default: // it came twice
		}
	}
}

// addDone notes which groups have answered, and that a frame was dropped.
func (p *predictor) addDone(by string, done flow.Done) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[done.Seq]
	if w == nil || done.Session != p.session {
		return
	}
	if done.Outcome != flow.OutcomeDropped {
		w.answered[by] = true
	} else if by == "fuser" {
		w.dropped = done.Reason
		select {
		case w.scene <- nil:
		default: // it has a scene
		}
	}
}

// addAlive notes that a worker lives.
func (p *predictor) addAlive(alive flow.Alive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.groups, func(g flow.Group) bool { return g.Name == alive.Stage }) {
		return
	}
	if p.heard[alive.Stage] == nil {
		p.heard[alive.Stage] = map[string]time.Time{}
	}
	if len(p.heard[alive.Stage]) < maxWorkers {
		p.heard[alive.Stage][alive.Instance] = time.Now()
	}
}

// maxWorkers bounds the workers of a group that are told apart.
const maxWorkers = 1024

func (p *predictor) setGroups(groups flow.Groups) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = groups
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
func (q predictQuery) answer(scene *flow.Scene, picture sent) (*Prediction, error) {
	prediction := &Prediction{Detections: []PredictedBox{}}
	var values *rawDepth
	if scene.Depth != nil {
		var unpacker flow.DepthUnpacker
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
		box := PredictedBox{Box: d.Box, Score: d.Score, ClassID: d.ClassID, Label: d.Label}
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
