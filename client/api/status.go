package api

import (
	"errors"
	"fmt"
)

// Watch is what a viewer sends on the websocket, as JSON text: first of all, and again whenever it wants other sources.
type Watch struct {
	// Sources names what to watch; an empty list is every source there is or will be, up to the gateway's limit.
	// A source that is not known yet is shown once it appears.
	Sources []string `json:"sources"`
}

// Status is what is known of the sources: a text message on the websocket, and the answer of GET /api/v1/sources.
type Status struct {
	Type    string   `json:"type"` // "status"
	Sources []Source `json:"sources"`
}

// Source is what is known of one source.
type Source struct {
	Source          string   `json:"source"`
	Mode            Mode     `json:"mode"`
	State           State    `json:"state"`
	Reason          string   `json:"reason,omitempty"`  // why it failed
	Note            string   `json:"note,omitempty"`    // what of it is not carried, as files of a folder that are no pictures
	Waiting         string   `json:"waiting,omitempty"` // for how long its frames have waited, and for what; empty: it goes on
	Session         string   `json:"session"`
	Seq             uint64   `json:"seq"`               // of the newest scene; 0: none yet
	Frames          uint64   `json:"frames"`            // of the whole source; 0: not known
	Account         *Account `json:"account"`           // null: its producer was not heard
	ScenesPerSecond float64  `json:"scenes_per_second"` // over the last seconds
}

// ErrAccount is returned when frames were lost or counted twice: the sums of a source do not balance.
var ErrAccount = errors.New("account does not balance")

// Account is a producer's count of one source's frames. It is per life of the producer.
//
//	Captured = Skipped + Admitted
//	Admitted = Complete + Partial + Error + Dropped + InFlight
//
// InFlight is the size of the set of admitted frames whose scene has not been seen, never a subtraction.
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
