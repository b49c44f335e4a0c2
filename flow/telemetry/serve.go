package telemetry

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxIdle is how many connections may be open without a request; the one that is idle longest makes room.
const maxIdle = 512

// Server answers HTTP at an address.
type Server struct {
	Address string
	TLS     TLSFiles // none: without TLS
	Handler http.Handler
	// Log gets what net/http has to say, as of a handler that panics.
	Log *slog.Logger
	// Refuse, unless nil, is told why somebody was turned away before there was a request, or that a certificate that has come can't be
	// used: [ReasonHandshake], [ReasonCertificate].
	Refuse func(reason string)
	Grace  time.Duration // of open requests, when it ends
	// Listening, unless nil, is told the address that was bound, which matters for port 0.
	Listening func(net.Addr)
}

// Reasons of spatialflow_refused_total that every address has.
const (
	ReasonHandshake   = "handshake"   // of TLS: one that failed
	ReasonCertificate = "certificate" // of TLS: files that have changed and can't be used
)

// Serve answers until ctx ends, then takes no more and gives open requests their grace. [ErrCertificate] is returned at once when the files
// of TLS can't be used.
func (s Server) Serve(ctx context.Context) error {
	if s.Refuse == nil {
		s.Refuse = func(string) {}
	}
	server := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		HTTP2:    &http.HTTP2Config{WriteByteTimeout: 10 * time.Second},
		ErrorLog: log.New(complaints{s.Log, s.Refuse}, "", 0), ConnState: newIdleConns(maxIdle).note,
	}
	if s.TLS.On() {
		c, err := newCertificate(s.TLS, s.Log, func() { s.Refuse(ReasonCertificate) })
		if err != nil {
			return err
		}
		server.TLSConfig = c.config()
	}
	listener, err := net.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if s.Listening != nil {
		s.Listening(listener.Addr())
	}
	served := make(chan error, 1)
	go func() {
		if s.TLS.On() {
			served <- server.ServeTLS(listener, "", "")
		} else {
			served <- server.Serve(listener)
		}
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.Address, err)
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.Address, err)
	}
	return nil
}

// complaints are what net/http says. What anybody who connects can make it say is for those who look for it, and counted.
type complaints struct {
	log    *slog.Logger
	refuse func(reason string)
}

func (c complaints) Write(line []byte) (int, error) {
	level, text := slog.LevelWarn, strings.TrimSpace(string(line))
	switch {
	case strings.HasPrefix(text, "http: TLS handshake error"):
		level = slog.LevelDebug
		c.refuse(ReasonHandshake)
	case strings.HasPrefix(text, "http2: ") && !strings.HasPrefix(text, "http2: panic"):
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, text)
	return len(line), nil
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
