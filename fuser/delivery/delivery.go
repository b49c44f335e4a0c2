// Package delivery is a result as its consumer delivered it, from its decoding to its ack, and what a partition holds
// of them meanwhile.
package delivery

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Delivery is one result on its way from its consumer to its scene. Whoever has it ends it once, by [Delivery.Ack] or
// [Delivery.GiveBack].
type Delivery struct {
	Result   *flow.Result
	Size     int       // bytes of the message
	Sequence uint64    // in its group's stream
	Stored   time.Time // by the stream's server and its clock
	Received time.Time
	Again    bool // it was delivered before
	Stale    bool // live mode: it comes too late to open a frame

	msg  jetstream.Msg // the newest delivery of it; under hold.mu once it is held
	hold *Hold
	open *atomic.Int64 // of the source that has it: counted down at its end
}

// Decode reads the result that msg delivered from the consumer of a group, mode and partition. [flow.ErrNewer] is returned
// when it is of a version that this program does not read, or of another partition: whoever runs a newer program knows
// what to do with it. Any other error says that it is no result.
func Decode(msg jetstream.Msg, group string, mode flow.Mode, partition int) (*Delivery, error) {
	result := new(flow.Result)
	if err := flow.Decode(msg.Data(), result); err != nil {
		return nil, err
	}
	if err := result.Validate(); err != nil {
		return nil, err
	}
	if err := check(result, group, mode); err != nil {
		return nil, err
	}
	if place := result.Place(); place != partition {
		return nil, fmt.Errorf("%w: %s of partition %d came in partition %d", flow.ErrNewer, result.ID(), place, partition)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", flow.ErrMessage, err)
	}
	return New(result, msg, meta), nil
}

// New is a result that msg delivered.
func New(result *flow.Result, msg jetstream.Msg, meta *jetstream.MsgMetadata) *Delivery {
	return &Delivery{
		Result: result, Size: len(msg.Data()), Sequence: meta.Sequence.Stream, Stored: meta.Timestamp,
		Received: time.Now(), Again: meta.NumDelivered > 1, msg: msg,
	}
}

// HandTo counts the delivery up in open until it ends.
func (d *Delivery) HandTo(open *atomic.Int64) {
	d.open = open
	open.Add(1)
}

// Ack says that the result is not needed any more. Unheard, it is delivered again and is acked again.
func (d *Delivery) Ack() { _ = d.end().Ack() }

// GiveBack lets the server deliver the result again, to whoever owns the partition then, after a wait; 0: at once. Unheard,
// it is delivered again after AckWait (3 s).
func (d *Delivery) GiveBack(after time.Duration) {
	msg := d.end()
	if after == 0 {
		_ = msg.Nak()
		return
	}
	_ = msg.NakWithDelay(after)
}

func (d *Delivery) end() jetstream.Msg {
	var msg jetstream.Msg
	if d.hold != nil {
		msg = d.hold.remove(d)
	} else {
		msg = d.msg
	}
	if d.open != nil {
		d.open.Add(-1)
	}
	return msg
}

// check returns [flow.ErrMessage] when a result says something else than the consumer that delivered it.
func check(r *flow.Result, group string, mode flow.Mode) error {
	if r.Group != group || r.Mode != mode {
		return fmt.Errorf("%w: a %s result of group %s came as a %s result of group %s", flow.ErrMessage, r.Mode, r.Group, mode, group)
	}
	if !slices.Contains(r.Plan, group) {
		return fmt.Errorf("%w: group %s is not of its plan %v", flow.ErrMessage, group, r.Plan)
	}
	return nil
}
