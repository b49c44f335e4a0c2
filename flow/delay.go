package flow

import (
	"slices"
	"time"
)

const (
	delaysKept   = 64  // of a sender, whose least counts as none
	delaySenders = 256 // that are told apart; beyond, all are learned anew
)

// Delays measures how long messages of a sender were on their way by two clocks that need not agree: the least
// difference between receiving and sending of a sender's last 64 messages counts as no delay. Its zero value is ready;
// it is not safe for concurrent use.
type Delays struct{ senders map[string][]time.Duration }

// Of is the delay of one more message of sender, stamped when it was sent (UTC, nanoseconds) and received. So the
// first message of a sender has none.
func (d *Delays) Of(sender string, sent int64, received time.Time) time.Duration {
	apparent := time.Duration(received.UnixNano() - sent)
	if d.senders == nil || len(d.senders) >= delaySenders && d.senders[sender] == nil {
		d.senders = map[string][]time.Duration{}
	}
	seen := append(d.senders[sender], apparent)
	if len(seen) > delaysKept {
		seen = seen[1:]
	}
	d.senders[sender] = seen
	return apparent - slices.Min(seen)
}
