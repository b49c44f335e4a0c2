package flow

import (
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// Schema versions: a reader refuses a higher one.
const (
	ResultVersion = 1
	SceneVersion  = 1
	DoneVersion   = 1
)

// MaxGroups bounds the worker groups of a deployment, and so the length of a plan.
const MaxGroups = 16

// Result is one group's answer for one frame.
type Result struct {
	Version    int           `msgpack:"v"`
	Group      string        `msgpack:"g"`
	Source     string        `msgpack:"src"`
	Session    string        `msgpack:"ses"`
	Seq        uint64        `msgpack:"seq"`
	Mode       Mode          `msgpack:"mode"`
	Captured   int64         `msgpack:"cap"` // of the frame: UTC, nanoseconds
	Sent       int64         `msgpack:"sent"`
	Width      int           `msgpack:"w"`
	Height     int           `msgpack:"h"`
	Plan       []string      `msgpack:"plan"`           // of the frame: whoever holds one result knows what to wait for
	Budget     time.Duration `msgpack:"bud,omitempty"`  // of the frame
	Model      string        `msgpack:"mdl,omitempty"`  // base name of the model file
	Error      string        `msgpack:"err,omitempty"`  // why there is no answer
	Dropped    string        `msgpack:"drop,omitempty"` // live mode: why the frame was not looked at
	Detections []Detection   `msgpack:"det,omitempty"`
	Depth      *depthmap.Map `msgpack:"dep,omitempty"`
	Ledger     []Hop         `msgpack:"led"` // the frame's, then this group's hop
}

// ID is the identity of the frame that was answered.
func (r *Result) ID() FrameID { return FrameID{r.Source, r.Session, r.Seq} }

// Validate returns [ErrMessage] when the result can't have come from a worker.
func (r *Result) Validate() error {
	if err := r.ID().Validate(); err != nil {
		return err
	}
	if r.Version < 1 || r.Version > ResultVersion {
		return fmt.Errorf("%w: result version %d, this reader knows 1 to %d", ErrMessage, r.Version, ResultVersion)
	}
	if err := ValidGroup(r.Group); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if r.Mode != ModeLive && r.Mode != ModeLossless {
		return fmt.Errorf("%w: result mode %q", ErrMessage, r.Mode)
	}
	if r.Depth != nil {
		if err := r.Depth.Validate(); err != nil {
			return err
		}
	}
	if err := validDetections(r.Detections); err != nil {
		return err
	}
	return validPlan(r.Plan)
}

// Outcome is how a frame ended.
type Outcome string

const (
	OutcomeComplete Outcome = "complete" // every group of the plan answered
	OutcomePartial  Outcome = "partial"  // a group of the plan is missing: it is left out now, or (live) the deadline passed
	OutcomeError    Outcome = "error"    // a group answered that it can't
	// OutcomeDropped ends a live frame that every group of its plan dropped: it has no scene, only a [Done].
	OutcomeDropped Outcome = "dropped"
)

// DroppedExpired is why a group drops a live frame: it waited longer than its budget.
const DroppedExpired = "expired"

// Held says that a scene's nearness comes from an older depth map than its own frame's.
type Held struct {
	Seq uint64        `msgpack:"seq" json:"seq"`    // of the frame the map belongs to
	Age time.Duration `msgpack:"age" json:"age_ns"` // between the two captures
}

// Scene is all that is known of one frame.
type Scene struct {
	Version    int               `msgpack:"v"`
	Source     string            `msgpack:"src"`
	Session    string            `msgpack:"ses"`
	Seq        uint64            `msgpack:"seq"`
	Mode       Mode              `msgpack:"mode"`
	Captured   int64             `msgpack:"cap"` // UTC, nanoseconds
	Fused      int64             `msgpack:"fus"` // UTC, nanoseconds: when the fuser joined it
	Width      int               `msgpack:"w"`
	Height     int               `msgpack:"h"`
	Plan       []string          `msgpack:"plan"`
	Outcome    Outcome           `msgpack:"out"`
	Missing    []string          `msgpack:"mis,omitempty"` // groups of the plan without an answer in this scene
	Errors     map[string]string `msgpack:"errs,omitempty"`
	Detections []Detection       `msgpack:"det"`
	Depth      *depthmap.Map     `msgpack:"dep,omitempty"`
	Range      *depthmap.Range   `msgpack:"rng,omitempty"`
	Held       *Held             `msgpack:"held,omitempty"`
	Ledger     []Hop             `msgpack:"led"`
}

// ID is the identity of the frame.
func (s *Scene) ID() FrameID { return FrameID{s.Source, s.Session, s.Seq} }

// Validate returns [ErrMessage] when the scene can't have come from a fuser.
func (s *Scene) Validate() error {
	if err := s.ID().Validate(); err != nil {
		return err
	}
	if s.Version < 1 || s.Version > SceneVersion {
		return fmt.Errorf("%w: scene version %d, this reader knows 1 to %d", ErrMessage, s.Version, SceneVersion)
	}
	if s.Mode != ModeLive && s.Mode != ModeLossless {
		return fmt.Errorf("%w: scene mode %q", ErrMessage, s.Mode)
	}
	switch s.Outcome {
	case OutcomeComplete, OutcomePartial, OutcomeError:
	default:
		return fmt.Errorf("%w: scene outcome %q", ErrMessage, s.Outcome)
	}
	if s.Depth != nil {
		if err := s.Depth.Validate(); err != nil {
			return err
		}
	}
	if s.Range != nil && !(finite(s.Range.Low) && finite(s.Range.High)) {
		return fmt.Errorf("%w: depth range %v to %v", ErrMessage, s.Range.Low, s.Range.High)
	}
	if err := validDetections(s.Detections); err != nil {
		return err
	}
	return validPlan(s.Plan)
}

// Done tells, in a few bytes of core NATS, that a frame is finished at a stage. From a group it returns a
// credit; from the fuser it closes the producer's account of the frame.
type Done struct {
	Version int           `msgpack:"v"`
	Session string        `msgpack:"ses"`
	Seq     uint64        `msgpack:"seq"`
	Wait    time.Duration `msgpack:"wa"`
	Work    time.Duration `msgpack:"wo"`
	Outcome Outcome       `msgpack:"out"`
	Reason  string        `msgpack:"why,omitempty"` // of a frame that was dropped
	// Queue is how many live frames waited for the group when it took this one, this one included; 0: not told.
	Queue uint64 `msgpack:"q,omitempty"`
}
