package flow

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/vmihailenco/msgpack/v5"
)

// Result is one group's answer for one frame.
type Result struct {
	Version    int           `msgpack:"v"` // of the frame
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
	Partition  int           `msgpack:"par,omitempty"`  // of the frame; see [Result.Place]
	Copy       int           `msgpack:"cp,omitempty"`   // of the frame
	Budget     time.Duration `msgpack:"bud,omitempty"`  // of the frame
	File       string        `msgpack:"file,omitempty"` // of the frame
	Model      string        `msgpack:"mdl,omitempty"`  // base name of the model file
	Error      string        `msgpack:"err,omitempty"`  // why there is no answer
	Class      Class         `msgpack:"cls,omitempty"`  // of the error; older workers leave it out
	Cause      Cause         `msgpack:"cau,omitempty"`  // of an error of class lost
	Dropped    string        `msgpack:"drop,omitempty"` // live mode: why the frame was not looked at
	Detections []Detection   `msgpack:"det,omitempty"`
	Depth      *depthmap.Map `msgpack:"dep,omitempty"`
	// Answers are what the group says beside detections and depth, each by a name ([A-Za-z0-9_-]{1,64}): any msgpack values,
	// which are carried on to whoever reads the scene, at most [MaxAnswers] and [MaxAnswerSize] bytes.
	Answers map[string]msgpack.RawMessage `msgpack:"ans,omitempty"`
	Ledger  []Hop                         `msgpack:"led"` // the frame's, then this group's hop
}

// ID is the identity of the frame that was answered.
func (r *Result) ID() FrameID { return FrameID{r.Source, r.Session, r.Seq} }

// Place is the partition of the frame's results and scene.
func (r *Result) Place() int { return place(r.Version, r.Partition, r.Source) }

// Failure is what kind of error the answer's is; its zero value without an error, or from an older worker.
func (r *Result) Failure() Failure { return Failure{Class: r.Class, Cause: r.Cause} }

// MessageID is the Nats-Msg-Id of the result: that of the frame, and the group.
func (r *Result) MessageID() string { return messageID(r.ID(), r.Copy) + "/" + r.Group }

// Validate returns [ErrNewer] when the result is of a version that this program does not read, [ErrMessage] when it can't have
// come from a worker.
func (r *Result) Validate() error {
	if err := validVersion("result", r.Version); err != nil {
		return err
	}
	if err := r.ID().Validate(); err != nil {
		return err
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
	return cmp.Or(
		validPlace(r.Version, r.Partition, r.Copy), validSize(r.Width, r.Height), validFile(r.File),
		validText("model", r.Model), validText("error", r.Error), validFailure(r.Failure()), validText("reason", r.Dropped),
		validDetections(r.Detections), validAnswers(r.Answers), validLedger(r.Ledger), validPlan(r.Plan),
	)
}

type (
	Failure = api.Failure // what kind of error an answer's is
	Class   = api.Class   // whose fault it is that a group has no answer to a frame
	Cause   = api.Cause   // what ended the last try of a frame that is lost
)

const (
	ClassPicture  = api.ClassPicture
	ClassLost     = api.ClassLost
	CauseModel    = api.CauseModel
	CauseKilled   = api.CauseKilled
	CauseDeadline = api.CauseDeadline
)

// validFailure returns [ErrMessage] when it is no kind of error. What a newer program may call them is a word all the same.
func validFailure(f Failure) error {
	if len(f.Class) > maxClass || len(f.Cause) > maxClass {
		return fmt.Errorf("%w: an error of class %.16q and cause %.16q", ErrMessage, f.Class, f.Cause)
	}
	return nil
}

const maxClass = 32 // bytes of a class or a cause
