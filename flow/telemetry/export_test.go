package telemetry

import (
	"net"
	"net/http"
)

// Handler is what an admin address answers with.
func Handler(a Admin) http.Handler { return a.handler() }

// Connections is what a server tells of its connections, and how many things are remembered of them.
func Connections(refuse func(reason string)) (note func(net.Conn, http.ConnState), remembered func() int) {
	c := newConnections(refuse)
	return c.note, func() int { return len(c.of) + len(c.open) + len(c.idle) + len(c.by) }
}
