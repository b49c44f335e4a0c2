// Package flow is the contract between the stages of Spatial-Flow: the messages that travel over NATS,
// the subjects they travel on, and the codec that turns them into bytes and back.
//
// A [Frame] leaves a producer; every worker group of its plan answers it with a [Result]; the fuser joins
// the results, by [FrameID] and nothing else, into a [Scene].
package flow

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// Mode says what happens to a frame that can't be taken at once.
type Mode = api.Mode

const (
	ModeLossless = api.ModeLossless
	ModeLive     = api.ModeLive
)

// Modes are both of them.
var Modes = []Mode{ModeLossless, ModeLive}

// FrameID names one frame for ever: it is the join key of results and, as text, the Nats-Msg-Id.
type FrameID struct {
	Source  string `json:"source"`  // one token, [A-Za-z0-9_-]{1,64}
	Session string `json:"session"` // a ULID, or the name of a run; same alphabet
	Seq     uint64 `json:"seq"`     // counts the session's captured pictures from 1
}

// String is "source/session/seq".
func (id FrameID) String() string {
	return id.Source + "/" + id.Session + "/" + strconv.FormatUint(id.Seq, 10)
}

// ParseFrameID reads what [FrameID.String] wrote. [ErrFrameID] is returned when it is anything else.
func ParseFrameID(text string) (FrameID, error) {
	source, rest, ok := strings.Cut(text, "/")
	session, digits, ok2 := strings.Cut(rest, "/")
	seq, err := strconv.ParseUint(digits, 10, 64)
	id := FrameID{Source: source, Session: session, Seq: seq}
	if !ok || !ok2 || err != nil || id.String() != text {
		return FrameID{}, fmt.Errorf("%w: %q is not source/session/seq", ErrFrameID, text)
	}
	return id, id.Validate()
}

// Validate returns [ErrFrameID] when a name is no token or the seq is 0.
func (id FrameID) Validate() error {
	if err := ValidToken("source", id.Source); err != nil {
		return fmt.Errorf("%w: %w", ErrFrameID, err)
	}
	if err := ValidToken("session", id.Session); err != nil {
		return fmt.Errorf("%w: %w", ErrFrameID, err)
	}
	if id.Seq == 0 {
		return fmt.Errorf("%w: seq counts from 1, got 0", ErrFrameID)
	}
	return nil
}

// Hop is one line of the latency ledger: what one stage did to a frame.
type Hop = api.Hop

// Frame is one captured picture on its way to the worker groups of its plan.
type Frame struct {
	Version  int      `msgpack:"v"` // [Wire], or an older one that all services of the deployment read
	Source   string   `msgpack:"src"`
	Session  string   `msgpack:"ses"`
	Seq      uint64   `msgpack:"seq"`
	Mode     Mode     `msgpack:"mode"`
	Captured int64    `msgpack:"cap"` // UTC, nanoseconds since 1970
	Sent     int64    `msgpack:"sent"`
	Width    int      `msgpack:"w"` // pixels; 0 when Error is set and the size is not known
	Height   int      `msgpack:"h"`
	Plan     []string `msgpack:"plan"` // the groups that answer, in slot order
	// Partition is that of the session, which it keeps; see [Frame.Place].
	Partition int `msgpack:"par,omitempty"`
	// Copy counts how often the frame was published again because nothing of it was to be found any more. Joins ignore it.
	Copy int `msgpack:"cp,omitempty"`
	// Budget is how long a live frame may wait, in each of its queues; 0 in lossless mode: for ever.
	Budget  time.Duration `msgpack:"bud,omitempty"`
	Picture []byte        `msgpack:"pic"` // JPEG; empty when Error is set
	// File is the name, without folders, of the file that the picture is in, as [FileName] writes it; empty: it is in none.
	File   string `msgpack:"file,omitempty"`
	Error  string `msgpack:"err,omitempty"`
	Ledger []Hop  `msgpack:"led"`
}

// ID is the frame's identity.
func (f *Frame) ID() FrameID { return FrameID{f.Source, f.Session, f.Seq} }

// Place is the partition of the frame's results and scene.
func (f *Frame) Place() int { return place(f.Version, f.Partition, f.Source) }

func place(version, partition int, source string) int {
	if version < 2 {
		return FirstPartition(source)
	}
	return partition
}

// MessageID is the Nats-Msg-Id of the frame: its ID, and the number of a copy.
func (f *Frame) MessageID() string { return messageID(f.ID(), f.Copy) }

// ParseMessageID is the frame that a Nats-Msg-Id, of whichever copy of it, names. [ErrFrameID] is returned when it names none.
func ParseMessageID(text string) (FrameID, error) {
	if strings.Count(text, "/") == 3 {
		i := strings.LastIndexByte(text, '/')
		digits, found := strings.CutPrefix(text[i:], copyMark)
		if n, err := strconv.Atoi(digits); !found || err != nil || n < 1 || strconv.Itoa(n) != digits {
			return FrameID{}, fmt.Errorf("%w: %.200q is no copy of a frame", ErrFrameID, text)
		}
		text = text[:i]
	}
	return ParseFrameID(text)
}

const copyMark = "/copy"

func messageID(id FrameID, copies int) string {
	if copies == 0 {
		return id.String()
	}
	return id.String() + copyMark + strconv.Itoa(copies)
}

// Validate returns [ErrNewer] when the frame is of a version that this program does not read, [ErrMessage] when it can't have
// come from a producer.
func (f *Frame) Validate() error {
	if err := validVersion("frame", f.Version); err != nil {
		return err
	}
	if err := f.ID().Validate(); err != nil {
		return err
	}
	if f.Mode != ModeLive && f.Mode != ModeLossless {
		return fmt.Errorf("%w: frame mode %q", ErrMessage, f.Mode)
	}
	if f.Mode == ModeLive && f.Budget <= 0 {
		return fmt.Errorf("%w: a live frame without a budget", ErrMessage)
	}
	return cmp.Or(validPlace(f.Version, f.Partition, f.Copy), validSize(f.Width, f.Height), validText("error", f.Error), validFile(f.File), validLedger(f.Ledger), validPlan(f.Plan))
}

func validPlan(plan []string) error {
	if len(plan) == 0 || len(plan) > MaxGroups {
		return fmt.Errorf("%w: a plan of %d groups, want 1 to %d", ErrMessage, len(plan), MaxGroups)
	}
	for i, group := range plan {
		if err := ValidGroup(group); err != nil {
			return fmt.Errorf("%w: plan: %w", ErrMessage, err)
		}
		if slices.Contains(plan[:i], group) {
			return fmt.Errorf("%w: plan names %q twice", ErrMessage, group)
		}
	}
	return nil
}
