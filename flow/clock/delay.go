// Package clock measures delays without comparing the clocks of two hosts, and waits.
package clock

import "time"

// Delays measures how much longer messages of one stream waited than the quickest of late ([Least]). The stream's server
// stamps them as it stores them, and they are received by a clock of another host, which only has to go on evenly: a step
// of either clock, and a server that leads the stream now with another clock, are forgotten within a second or eight
// messages, at once when the connection is a new one or stamps run backwards. Its zero value is ready; it is not safe
// for concurrent use.
type Delays struct {
	first, last Delivery
	least       Least
}

// Delivery is one message of a stream as it was received.
type Delivery struct {
	Connection uint64    // how many times the connection was made anew
	Seq        uint64    // in the stream
	Stored     time.Time // by the stream's server
	Received   time.Time // by this host, with its monotonic reading
}

// Of is how much longer one more message waited. So the first one has not waited at all.
func (d *Delays) Of(m Delivery) time.Duration {
	if d.last.Seq == 0 || m.Connection != d.last.Connection || d.last.misfits(m) {
		*d = Delays{first: m, last: m}
	}
	if m.Seq > d.last.Seq { // not one that is delivered again
		d.last = m
	}
	apparent := m.Received.Sub(d.first.Received) - m.Stored.Sub(d.first.Stored)
	return apparent - d.least.Of(apparent, m.Received)
}

// misfits says whether the stream's clock was set back between the two, or it is another stream.
func (m Delivery) misfits(other Delivery) bool {
	return other.Seq > m.Seq && other.Stored.Before(m.Stored) || other.Seq < m.Seq && other.Stored.After(m.Stored)
}
