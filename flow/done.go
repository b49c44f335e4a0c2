package flow

import "time"

// Done tells, in a few bytes of core NATS, that a frame is finished at a stage. From a group it returns a
// credit; from the fuser it closes the producer's account of the frame.
type Done struct {
	Version int           `msgpack:"v"` // of the frame
	Session string        `msgpack:"ses"`
	Seq     uint64        `msgpack:"seq"`
	Wait    time.Duration `msgpack:"wa"`
	Work    time.Duration `msgpack:"wo"`
	Outcome Outcome       `msgpack:"out"`
	Reason  string        `msgpack:"why,omitempty"` // of a frame that was dropped
	// Queue is how many live frames waited for the group when it took this one, this one included; 0: not told.
	Queue uint64 `msgpack:"q,omitempty"`
}
