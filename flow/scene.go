package flow

import (
	"cmp"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// Outcome is how a frame ended.
type Outcome = api.Outcome

const (
	OutcomeComplete = api.OutcomeComplete
	OutcomePartial  = api.OutcomePartial
	OutcomeError    = api.OutcomeError
	OutcomeDropped  = api.OutcomeDropped // it has no scene, only a [Done]
)

// Why a group drops a live frame.
const (
	DroppedExpired = "expired" // it waited longer than its budget
	DroppedWarming = "warming" // the model is being made ready for its shape
)

// Held says that a scene's nearness comes from an older depth map than its own frame's.
type Held = api.Held

// Scene is all that is known of one frame.
type Scene struct {
	Version    int                `msgpack:"v"` // of the frame
	Source     string             `msgpack:"src"`
	Session    string             `msgpack:"ses"`
	Seq        uint64             `msgpack:"seq"`
	Mode       Mode               `msgpack:"mode"`
	Captured   int64              `msgpack:"cap"` // UTC, nanoseconds
	Fused      int64              `msgpack:"fus"` // UTC, nanoseconds: when the fuser joined it
	Width      int                `msgpack:"w"`
	Height     int                `msgpack:"h"`
	Plan       []string           `msgpack:"plan"`
	Partition  int                `msgpack:"par,omitempty"`  // of the frame; see [Scene.Place]
	File       string             `msgpack:"file,omitempty"` // of the frame
	Outcome    Outcome            `msgpack:"out"`
	Missing    []string           `msgpack:"mis,omitempty"` // groups of the plan without an answer in this scene
	Errors     map[string]string  `msgpack:"errs,omitempty"`
	Failures   map[string]Failure `msgpack:"fail,omitempty"` // what kinds of errors those are; older workers and fusers do not tell
	Detections []Detection        `msgpack:"det"`
	Depth      *depthmap.Map      `msgpack:"dep,omitempty"`
	Range      *depthmap.Range    `msgpack:"rng,omitempty"`
	Held       *Held              `msgpack:"held,omitempty"`
	// Answers are what groups say beside detections and depth, by the group's name and their own.
	Answers map[string]map[string]msgpack.RawMessage `msgpack:"ans,omitempty"`
	Ledger  []Hop                                    `msgpack:"led"`
}

// ID is the identity of the frame.
func (s *Scene) ID() FrameID { return FrameID{s.Source, s.Session, s.Seq} }

// Place is the partition of the scene.
func (s *Scene) Place() int { return place(s.Version, s.Partition, s.Source) }

// Validate returns [ErrNewer] when the scene is of a version that this program does not read, [ErrMessage] when it can't have
// come from a fuser.
func (s *Scene) Validate() error {
	if err := validVersion("scene", s.Version); err != nil {
		return err
	}
	if err := s.ID().Validate(); err != nil {
		return err
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
	if len(s.Answers) > MaxGroups || len(s.Errors) > MaxGroups+1 || len(s.Failures) > MaxGroups || len(s.Missing) > MaxGroups {
		return fmt.Errorf("%w: %d groups answered, %d failed, %d are missing, at most %d", ErrMessage, len(s.Answers), len(s.Errors), len(s.Missing), MaxGroups)
	}
	for group, failure := range s.Failures {
		if err := cmp.Or(ValidGroup(group), validFailure(failure)); err != nil {
			return fmt.Errorf("%w: group %.16q: %w", ErrMessage, group, err)
		}
	}
	for group, answers := range s.Answers {
		if err := cmp.Or(ValidGroup(group), validAnswers(answers)); err != nil {
			return fmt.Errorf("%w: group %.16q: %w", ErrMessage, group, err)
		}
	}
	return cmp.Or(validPlace(s.Version, s.Partition, 0), validSize(s.Width, s.Height), validFile(s.File), validDetections(s.Detections), validLedger(s.Ledger), validPlan(s.Plan))
}
