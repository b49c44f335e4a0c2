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
	// MaxFPS is how many scenes of each source come in a second at most, 0.01 to 1000; 0: all.
	MaxFPS float64 `json:"max_fps,omitempty"`
	// MaxWidth is how wide pictures and depth maps are at most, in pixels, 160 or more; 0: as they are. They are made so wide as the
	// next smaller one of a few sizes. Boxes stay those of the frame.
	MaxWidth int `json:"max_width,omitempty"`
	// Depth is false for scenes without depth maps.
	Depth *bool `json:"depth,omitempty"`
	// Adapt has pictures and depth maps made smaller while the viewer is slow to take them.
	Adapt bool `json:"adapt,omitempty"`
	// PartBytes, 1024 or more, has each scene come in as many binary messages as it takes, of at most so many bytes: what they hold,
	// put together, is the one message of else. So a viewer sees that something comes. 0: in one message.
	PartBytes int `json:"part_bytes,omitempty"`
}

// Status is what is known of the sources. GET /api/v1/sources answers with that of all. On the websocket it is a text message of
// those that are watched: after each [Watch], when something in it changes, looked at once a second, and every 2 s.
type Status struct {
	Type    string   `json:"type"` // "status"
	Sources []Source `json:"sources"`
	// Known are all sources, by name; on the websocket, left out when they are those that the viewer was told before.
	Known      []KnownSource `json:"known,omitempty"`
	MaxWatched int           `json:"max_watched,omitempty"` // sources that may be watched at once; told beside Known
	// AdaptedWidth is how wide pictures are for this viewer at most, because it is slow; 0: as wide as it wants them.
	AdaptedWidth int `json:"adapted_width,omitempty"`
}

// KnownSource is a source that may be watched.
type KnownSource struct {
	Source string `json:"source"`
	State  State  `json:"state"`
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
