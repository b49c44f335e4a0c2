package telemetry

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Bounds of the connections of one server, those that were taken over by a handler left out.
const (
	maxIdle   = 512  // that have no request: who has most of them makes room, with the one that is idle longest
	maxClient = 2048 // of one client, but of this machine's own: the newest goes
)

// Client is whom an address counts for: an IPv4 address, this machine, or the first one of the /64 of an IPv6 address, which is one household's or one
// machine's.
func Client(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if !address.Is6() || address.IsLoopback() {
		return address
	}
	network, _ := address.Prefix(64) // fails for no such address
	return network.Addr()
}

// connections are those of a server.
type connections struct {
	refuse func(reason string)

	mu   sync.Mutex
	of   map[net.Conn]netip.Addr // client
	open map[netip.Addr]int      // by client
	idle map[net.Conn]*list.Element
	by   map[netip.Addr]*list.List // of idle net.Conn, by client, the one that is idle longest first
}

func newConnections(refuse func(reason string)) *connections {
	return &connections{refuse: refuse, of: map[net.Conn]netip.Addr{}, open: map[netip.Addr]int{}, idle: map[net.Conn]*list.Element{}, by: map[netip.Addr]*list.List{}}
}

// note is told what becomes of a connection, and closes the one that is one too many.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		var client netip.Addr
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			client = Client(tcp.AddrPort().Addr())
		}
		c.of[conn] = client
		if c.open[client]++; c.open[client] > maxClient && !client.IsLoopback() {
			c.refuse(ReasonConnections)
			drop(conn)
			return
		}
		c.rests(conn)
	case http.StateIdle:
		c.rests(conn)
	case http.StateActive:
		c.works(conn)
	case http.StateClosed, http.StateHijacked:
		c.works(conn)
		client := c.of[conn]
		delete(c.of, conn)
		if c.open[client]--; c.open[client] <= 0 {
			delete(c.open, client)
		}
	}
}

// rests notes that a connection has no request.
func (c *connections) rests(conn net.Conn) {
	c.works(conn)
	client := c.of[conn]
	if c.by[client] == nil {
		c.by[client] = list.New()
	}
	c.idle[conn] = c.by[client].PushBack(conn)
	if len(c.idle) <= maxIdle {
		return
	}
	most := c.by[client]
	for _, conns := range c.by {
		if conns.Len() > most.Len() {
			most = conns
		}
	}
	oldest := most.Front().Value.(net.Conn)
	c.works(oldest)
	drop(oldest)
}

// works notes that a connection has a request, or is gone.
func (c *connections) works(conn net.Conn) {
	element := c.idle[conn]
	if element == nil {
		return
	}
	delete(c.idle, conn)
	client := c.of[conn]
	if c.by[client].Remove(element); c.by[client].Len() == 0 {
		delete(c.by, client)
	}
}

// drop closes a connection without a word: TLS would say goodbye to who may not be listening.
func drop(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close() // fails when it is closed already
}
