package api

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

// Scene is all that is known of one frame but its picture and depth map.
type Scene struct {
	Frame      Frame              `json:"frame"`
	Captured   time.Time          `json:"captured"` // RFC 3339, UTC
	Size       [2]int             `json:"size"`     // width, height of the picture in pixels; 0 when it is not known
	Plan       []string           `json:"plan"`     // the groups that had to answer
	Detections []Detection        `json:"detections"`
	Outcome    Outcome            `json:"outcome"`
	Missing    []string           `json:"missing"`            // groups of the plan without an answer
	Errors     map[string]string  `json:"errors,omitempty"`   // why, by group
	Failures   map[string]Failure `json:"failures,omitempty"` // what kinds of errors those are; older workers do not tell
	Held       *Held              `json:"held"`               // null: the depth map is the frame's own
	// Answers are what groups say beside detections and depth, by the group's name and their own.
	Answers map[string]map[string]json.RawMessage `json:"answers,omitempty"`
	Ledger  []Hop                                 `json:"ledger"`
}

// Frame names one frame for ever.
type Frame struct {
	Source  string `json:"source"`         // one token, [A-Za-z0-9_-]{1,64}
	Session string `json:"session"`        // a ULID, or the name of a run; same alphabet
	Seq     uint64 `json:"seq"`            // counts the session's captured pictures from 1
	File    string `json:"file,omitempty"` // name, without folders, of the file that its picture is in
}

// String is "source/session/seq".
func (f Frame) String() string {
	return f.Source + "/" + f.Session + "/" + strconv.FormatUint(f.Seq, 10)
}

// Detection is one object found in a frame.
type Detection struct {
	Label   string     `msgpack:"l" json:"label"`
	ClassID int        `msgpack:"c" json:"class_id"`
	Score   float32    `msgpack:"s" json:"score"` // 0 to 1
	Box     [4]float32 `msgpack:"b" json:"bbox"`  // x1, y1, x2, y2 in pixels of the picture
	Depth   *BoxDepth  `msgpack:"d,omitempty" json:"depth,omitempty"`
}

// BoxDepth is how near a box is.
type BoxDepth struct {
	Value    float32       `msgpack:"v" json:"value"` // median of the map over the inner part of the box, in the map's unit
	Kind     depthmap.Kind `msgpack:"k" json:"kind"`
	Nearness float32       `msgpack:"n" json:"nearness"` // 0 (far) to 100 (near): percent of the source's stable range
}

// Held says that a scene's nearness comes from an older depth map than its own frame's.
type Held struct {
	Seq uint64        `msgpack:"seq" json:"seq"`    // of the frame the map belongs to
	Age time.Duration `msgpack:"age" json:"age_ns"` // between the two captures
}

// Hop is one line of the latency ledger: what one stage did to a frame.
type Hop struct {
	Stage string        `msgpack:"st" json:"stage"`   // producer, a group's name, or fuser
	Wait  time.Duration `msgpack:"wa" json:"wait_ns"` // since the stamp before it: queueing and transport
	Work  time.Duration `msgpack:"wo" json:"work_ns"` // spent by the stage on the frame
}

// Class is whose fault it is that a group has no answer to a frame.
type Class string

const (
	// ClassPicture: the frame's own. It can't be decoded, its shape is refused, or what there is to say of it fits into no message:
	// whoever sends it again gets the same answer.
	ClassPicture Class = "picture"
	// ClassLost: nobody of the group got through with it, in as many tries as a frame has; it may do better later, or elsewhere.
	ClassLost Class = "lost"
)

// Cause is what ended the last try of a frame that is lost.
type Cause string

const (
	CauseModel    Cause = "model"    // the model failed on it, or what it put out is not finite or out of its range
	CauseKilled   Cause = "killed"   // its worker was not heard of again
	CauseDeadline Cause = "deadline" // it was not through with the model in time
)

// Failure is what kind of error an answer's is.
type Failure struct {
	Class Class `msgpack:"cls" json:"class"`
	Cause Cause `msgpack:"cau,omitempty" json:"cause,omitempty"` // of what is lost
}
