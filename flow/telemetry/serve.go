package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Server answers HTTP at an address.
type Server struct {
	Address string
	TLS     TLSFiles // none: without TLS
	Handler http.Handler
	// Log gets what net/http has to say, as of a handler that panics.
	Log *slog.Logger
	// Metrics, unless nil, have spatialflow_refused_total, with [ReasonHandshake], [ReasonCertificate] and [ReasonConnections] of Door, and
	// when its certificate expires.
	Metrics prometheus.Registerer
	Door    string        // what the address is called there
	Grace   time.Duration // of open requests, when it ends
	// Listening, unless nil, is told the address that was bound, which matters for port 0.
	Listening func(net.Addr)
}

// Reasons of spatialflow_refused_total that every address has.
const (
	ReasonHandshake   = "handshake"   // of TLS: one that failed
	ReasonCertificate = "certificate" // of TLS: files that have changed and can't be used
	ReasonConnections = "connections" // of one client: more than it may have
)

// Serve answers until ctx ends, then takes no more and gives open requests their grace. [ErrCertificate] is returned at once when the files
// of TLS can't be used.
func (s Server) Serve(ctx context.Context) error {
	refuse, expires := func(string) {}, func(time.Time) {}
	if s.Metrics != nil {
		refused := NewRefused(s.Metrics)
		refuse = func(reason string) { refused.WithLabelValues(s.Door, reason).Inc() }
	}
	server := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		HTTP2:    &http.HTTP2Config{WriteByteTimeout: 10 * time.Second},
		ErrorLog: log.New(complaints{s.Log, refuse}, "", 0), ConnState: newConnections(refuse).note,
	}
	if s.TLS.On() {
		if s.Metrics != nil {
			gauge := newExpires(s.Metrics)
			expires = func(when time.Time) { gauge.WithLabelValues(s.Door).Set(float64(when.Unix())) }
		}
		c, err := newCertificate(s.TLS, s.Log, func() { refuse(ReasonCertificate) }, expires)
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
