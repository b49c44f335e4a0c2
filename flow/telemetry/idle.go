package telemetry

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// maxIdle is how many connections may be open without a request. Who has most of them makes room, with the one that is idle longest.
const maxIdle = 512

// Client is whom an address counts for: an IPv4 address, or the first one of the /64 of an IPv6 address, which is one household's or one
// machine's.
func Client(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if !address.Is6() {
		return address
	}
	network, _ := address.Prefix(64) // fails for no such address
	return network.Addr()
}

// idleConns are the connections that have no request.
type idleConns struct {
	most int

	mu sync.Mutex
	at map[net.Conn]idleConn
	of map[netip.Addr]*list.List // of net.Conn, by client, the one that is idle longest first
}

// idleConn is where one is remembered.
type idleConn struct {
	client  netip.Addr
	element *list.Element
}

func newIdleConns(most int) *idleConns {
	return &idleConns{most: most, at: map[net.Conn]idleConn{}, of: map[netip.Addr]*list.List{}}
}

// note is told what becomes of a connection, and closes the one that is one too many.
func (c *idleConns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
	if state != http.StateNew && state != http.StateIdle {
		return
	}
	var client netip.Addr
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		client = Client(tcp.AddrPort().Addr())
	}
	if c.of[client] == nil {
		c.of[client] = list.New()
	}
	c.at[conn] = idleConn{client, c.of[client].PushBack(conn)}
	if len(c.at) <= c.most {
		return
	}
	most := c.of[client]
	for _, conns := range c.of {
		if conns.Len() > most.Len() {
			most = conns
		}
	}
	oldest := most.Front().Value.(net.Conn)
	c.forget(oldest)
	if secure, ok := oldest.(*tls.Conn); ok {
		oldest = secure.NetConn() // TLS would say goodbye to who may not be listening
	}
	_ = oldest.Close() // fails when it is closed already
}

func (c *idleConns) forget(conn net.Conn) {
	idle, ok := c.at[conn]
	if !ok {
		return
	}
	delete(c.at, conn)
	conns := c.of[idle.client]
	if conns.Remove(idle.element); conns.Len() == 0 {
		delete(c.of, idle.client)
	}
}
