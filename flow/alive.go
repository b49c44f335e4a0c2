package flow

import (
	"encoding/json"
	"fmt"
)

// Alive is what every service says of itself once a second on core NATS, as JSON; a service not heard for
// 3 s is gone. What does not apply to a stage is left out.
type Alive struct {
	Stage    string `json:"stage"`    // producer, a group's name, fuser or gateway
	Instance string `json:"instance"` // unique to the process
	Host     string `json:"host"`

	// Worker groups.
	Model    string  `json:"model,omitempty"`    // base name of the file
	Family   string  `json:"family,omitempty"`   // decoder that reads its output
	Provider string  `json:"provider,omitempty"` // ONNX Runtime execution provider
	Parallel int     `json:"parallel,omitempty"` // frames in hand at once
	Rate     float64 `json:"rate"`               // frames finished per second, over the last second
	WaitMS   float64 `json:"wait_ms"`            // mean wait of those
	Busy     float64 `json:"busy"`               // share of its slots that worked, 0 to 1

	// Producers.
	Sources []SourceStatus `json:"sources,omitempty"`
}

// State is how far a source is.
type State string

const (
	StateRunning  State = "running"
	StateComplete State = "complete" // lossless: every frame has its stored scene
	StateStopped  State = "stopped"  // asked to stop before its end
	StateFailed   State = "failed"
)

// SourceStatus is a source as its producer sees it.
type SourceStatus struct {
	Source  string  `json:"source"`
	Session string  `json:"session"`
	URI     string  `json:"uri"` // without credentials
	Mode    Mode    `json:"mode"`
	State   State   `json:"state"`
	Reason  string  `json:"reason,omitempty"` // why it failed
	Frames  uint64  `json:"frames,omitempty"` // of the whole source, where it is known: 0 is not known
	Account Account `json:"account"`
}

// Account is a producer's count of one source's frames. It is per life of the producer.
//
//	Captured = Skipped + Admitted
//	Admitted = Complete + Partial + Error + Dropped + InFlight
//
// InFlight is the size of the set of admitted frame IDs whose scene has not been seen, never a subtraction.
type Account struct {
	Captured uint64            `json:"captured"`
	Skipped  map[string]uint64 `json:"skipped,omitempty"` // by reason: never admitted
	Admitted uint64            `json:"admitted"`
	Complete uint64            `json:"complete"`
	Partial  uint64            `json:"partial"`
	Error    uint64            `json:"error"`
	Dropped  map[string]uint64 `json:"dropped,omitempty"` // by reason: admitted, then lost
	InFlight uint64            `json:"in_flight"`
}

// Check returns [ErrAccount] when the two sums don't hold.
func (a Account) Check() error {
	if out := a.Admitted + sum(a.Skipped); a.Captured != out {
		return fmt.Errorf("%w: captured %d, but skipped + admitted = %d", ErrAccount, a.Captured, out)
	}
	if out := a.Complete + a.Partial + a.Error + sum(a.Dropped) + a.InFlight; a.Admitted != out {
		return fmt.Errorf("%w: admitted %d, but complete + partial + error + dropped + in flight = %d", ErrAccount, a.Admitted, out)
	}
	return nil
}

// CheckAtRest is Check, and returns [ErrAccount] too when a frame is still in flight.
func (a Account) CheckAtRest() error {
	if err := a.Check(); err != nil {
		return err
	}
	if a.InFlight != 0 {
		return fmt.Errorf("%w: %d of %d admitted frames never became a scene", ErrAccount, a.InFlight, a.Admitted)
	}
	return nil
}

func sum(counts map[string]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}

// MaxAliveBytes bounds an alive message.
const MaxAliveBytes = 64 << 10

// ParseAlive reads an alive message; [ErrMessage] is returned when it is none.
func ParseAlive(data []byte) (Alive, error) {
	var alive Alive
	if len(data) > MaxAliveBytes {
		return alive, fmt.Errorf("%w: alive message of %d bytes, at most %d", ErrMessage, len(data), MaxAliveBytes)
	}
	if err := json.Unmarshal(data, &alive); err != nil {
		return alive, fmt.Errorf("%w: alive: %w", ErrMessage, err)
	}
	return alive, nil
}
