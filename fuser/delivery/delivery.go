// Package delivery is a result as its consumer delivered it.
package delivery

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Delivery is one result on its way from its consumer to the partition.
type Delivery struct {
	Result   *flow.Result
	Msg      jetstream.Msg
	Sequence uint64
	Stored   time.Time // by the stream's server and its clock
	Again    bool      // it was delivered before
}
