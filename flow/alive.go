package flow

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// Alive is what every service says of itself once a second on core NATS, as JSON; a service not heard for
// 3 s is gone. What does not apply to a stage is left out.
type Alive struct {
	Stage    string `json:"stage"`    // producer, a group's name, fuser or gateway
	Instance string `json:"instance"` // unique to the process
	Host     string `json:"host"`
	Wire     int    `json:"wire,omitempty"` // newest version of messages that it reads ([Wire]); 0 is 1
	Note     string `json:"note,omitempty"` // what it can't do now, and what mends that; empty: nothing

	// Worker groups.
	Model      string  `json:"model,omitempty"`      // base name of the file
	Family     string  `json:"family,omitempty"`     // decoder that reads its output
	Provider   string  `json:"provider,omitempty"`   // ONNX Runtime execution provider
	Understood string  `json:"understood,omitempty"` // what was understood of the file, in a line
	Parallel   int     `json:"parallel,omitempty"`   // live frames that it takes at once
	Rate       float64 `json:"rate"`                 // frames finished per second, over the last second
	WaitMS     float64 `json:"wait_ms"`              // mean wait of those
	Busy       float64 `json:"busy"`                 // share of its slots that worked, 0 to 1

	// Producers. Sources are those that changed, and as many of the others, in turn, as the message holds.
	Sources     []SourceStatus `json:"sources,omitempty"`
	SourceCount int            `json:"source_count,omitempty"` // of all of them
	LiveSources int            `json:"live_sources,omitempty"` // of them, those in live mode that run and capture
	List        string         `json:"list,omitempty"`         // names the list of sources that it was given: who says the same shares them
	Allows      []string       `json:"allows,omitempty"`       // patterns of the sources that may be configured at run time
}

// State is how far a source is.
type State = api.State

const (
	StateRunning  = api.StateRunning
	StateComplete = api.StateComplete
	StateStopped  = api.StateStopped
	StateFailed   = api.StateFailed
)

// SourceStatus is a source as its producer sees it.
type SourceStatus struct {
	Source  string  `json:"source"`
	Session string  `json:"session"`
	URI     string  `json:"uri"` // without credentials
	Mode    Mode    `json:"mode"`
	State   State   `json:"state"`
	Reason  string  `json:"reason,omitempty"`  // why it failed, or what it waits for
	Note    string  `json:"note,omitempty"`    // what of it is not carried, as files of a folder that are no pictures
	Frames  uint64  `json:"frames,omitempty"`  // of the whole source, where it is known: 0 is not known
	Corrupt uint64  `json:"corrupt,omitempty"` // packets of a film or a camera that were broken: passed over, or shown with what was left
	Account Account `json:"account"`
}

// Account is a producer's count of one source's frames.
type Account = api.Account

const maxAliveWord = 256 // bytes of what a service calls itself, its host and its model

// MaxAliveBytes bounds an alive message.
const MaxAliveBytes = 64 << 10

// ParseAlive reads an alive message; [ErrMessage] is returned when it is none, or says more than it may.
func ParseAlive(data []byte) (Alive, error) {
	var alive Alive
	if len(data) > MaxAliveBytes {
		return alive, fmt.Errorf("%w: alive message of %d bytes, at most %d", ErrMessage, len(data), MaxAliveBytes)
	}
	if err := json.Unmarshal(data, &alive); err != nil {
		return alive, fmt.Errorf("%w: alive: %w", ErrMessage, err)
	}
	if longest := max(len(alive.Stage), len(alive.Instance), len(alive.Host), len(alive.Model), len(alive.Family), len(alive.Provider)); longest > maxAliveWord {
		return alive, fmt.Errorf("%w: alive: a name of %d bytes, at most %d", ErrMessage, longest, maxAliveWord)
	}
	for name, value := range map[string]float64{"rate": alive.Rate, "wait_ms": alive.WaitMS, "busy": alive.Busy, "parallel": float64(alive.Parallel)} {
		if !(value >= 0 && value <= maxAliveNumber) {
			return alive, fmt.Errorf("%w: alive: %s %v is not 0 to %v", ErrMessage, name, value, maxAliveNumber)
		}
	}
	if alive.Wire < 0 || alive.SourceCount < 0 || alive.LiveSources < 0 || len(alive.Note) > maxAliveText || len(alive.List) > maxAliveText || len(alive.Understood) > maxAliveText {
		return alive, fmt.Errorf("%w: alive: wire %d, %d sources, %d live, a note of %d bytes, at most %d", ErrMessage, alive.Wire, alive.SourceCount, alive.LiveSources, len(alive.Note), maxAliveText)
	}
	if len(alive.Allows) > maxAllows || len(strings.Join(alive.Allows, "")) > maxAllowsBytes {
		return alive, fmt.Errorf("%w: alive: it allows %d patterns, at most %d, of %d bytes together", ErrMessage, len(alive.Allows), maxAllows, maxAllowsBytes)
	}
	for _, source := range alive.Sources {
		if err := source.validate(); err != nil {
			return alive, fmt.Errorf("%w: alive: %w", ErrMessage, err)
		}
	}
	return alive, nil
}

// ParseAliveOf is [ParseAlive] for a message that came on a subject, without a deployment's prefix: [ErrMessage] is returned too when it
// speaks of somebody else, for whom its sender may not publish.
func ParseAliveOf(subject string, data []byte) (Alive, error) {
	alive, err := ParseAlive(data)
	if err == nil && subject != AliveSubject(alive.Stage, alive.Instance) {
		err = fmt.Errorf("%w: alive: %.80q tells of stage %.40q, instance %.40q", ErrMessage, subject, alive.Stage, alive.Instance)
	}
	return alive, err
}

// Bounds of what an alive message may say. Who reads it keeps it, and shows it to everybody.
const (
	maxAliveNumber  = 1e9
	maxAliveURI     = 4200 // bytes: the longest path, and its settings
	maxAliveText    = 1024 // bytes of a reason
	maxAliveReasons = 32   // kinds of skipped and of dropped frames
	maxAllows       = 16   // patterns
	maxAllowsBytes  = 2048 // of all of them
)

func (s *SourceStatus) validate() error {
	if err := ValidToken("source", s.Source); err != nil {
		return err
	}
	if s.Session != "" {
		if err := ValidToken("session", s.Session); err != nil {
			return err
		}
	}
	switch s.Mode {
	case ModeLive, ModeLossless, "":
	default:
		return fmt.Errorf("source %s has the mode %.32q", s.Source, s.Mode)
	}
	switch s.State {
	case StateRunning, StateComplete, StateStopped, StateFailed, "":
	default:
		return fmt.Errorf("source %s has the state %.32q", s.Source, s.State)
	}
	if len(s.URI) > maxAliveURI || len(s.Reason) > maxAliveText || len(s.Note) > maxAliveText {
		return fmt.Errorf("source %s has a URI of %d bytes, a reason of %d and a note of %d, at most %d, %d and %d", s.Source, len(s.URI), len(s.Reason), len(s.Note), maxAliveURI, maxAliveText, maxAliveText)
	}
	for _, counts := range []map[string]uint64{s.Account.Skipped, s.Account.Dropped} {
		if len(counts) > maxAliveReasons {
			return fmt.Errorf("source %s has %d kinds of lost frames, at most %d", s.Source, len(counts), maxAliveReasons)
		}
		for reason := range counts {
			if len(reason) > maxAliveText {
				return fmt.Errorf("source %s has lost frames for a reason of %d bytes, at most %d", s.Source, len(reason), maxAliveText)
			}
		}
	}
	return nil
}
