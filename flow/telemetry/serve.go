package telemetry

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxIdle is how many connections may be open without a request; the one that is idle longest makes room.
const maxIdle = 512

// ServeHTTP serves handler on address until ctx ends, then takes no more and gives open requests the time of grace. What net/http
// has to say, as of a handler that panics, goes to log. listening, unless nil, is told the address that was bound, which matters
// for port 0.
func ServeHTTP(ctx context.Context, address string, handler http.Handler, log *slog.Logger, grace time.Duration, listening func(net.Addr)) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if listening != nil {
		listening(listener.Addr())
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ConnState: newIdleConns(maxIdle).note,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", address, err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", address, err)
	}
	return nil
}

// idleConns are the connections that have no request, the one that is idle longest first.
type idleConns struct {
	most int

	mu    sync.Mutex
	order list.List
	at    map[net.Conn]*list.Element
}

func newIdleConns(most int) *idleConns {
	return &idleConns{most: most, at: map[net.Conn]*list.Element{}}
}

// note is told what becomes of a connection, and closes the one that is one too many.
func (c *idleConns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.at[conn]; element != nil {
		c.order.Remove(element)
		delete(c.at, conn)
	}
	if state != http.StateNew && state != http.StateIdle {
		return
	}
	c.at[conn] = c.order.PushBack(conn)
	if c.order.Len() <= c.most {
		return
	}
	oldest := c.order.Remove(c.order.Front()).(net.Conn)
	delete(c.at, oldest)
	_ = oldest.Close() // fails when it is closed already
}
