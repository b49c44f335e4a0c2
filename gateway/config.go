package gateway

import (
	"fmt"
	"net"
	"path"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/callers"
	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/manage"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
	"github.com/spatial-flow/spatial-flow/gateway/rest"
)

// Reached is where the gateway is reached, and by whom: the settings that every program with a gateway in it has.
type Reached struct {
	HTTP    string   `name:"http" default:"127.0.0.1:8000" help:"Address of the viewer page, the websocket and the REST API."`
	Hosts   []string `placeholder:"HOST" help:"Names, with or without a port, by which the gateway may be called, beside addresses and localhost, as viewer.example.org; * stands for any part of a name. Others are refused, so that no page whose name was made to resolve to the gateway reads anything."`
	Origins []string `placeholder:"HOST" help:"Hosts, besides the gateway's own, whose pages may open the websocket and post pictures, and by whose names it may be called too (behind a proxy); * stands for any part of a name."`

	BasePath string `placeholder:"/PATH" help:"Path under which everything lies, as /spatial-flow: the pages, the websocket and the REST API; for a proxy that hands paths on as they are."`

	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"Certificate of --http (PEM, those of its issuers after it): the gateway is reached by https alone then. Read again when it changes."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"Key of --tls-cert (PEM)."`

	Access  access.Config  `embed:""`
	Callers callers.Config `embed:""`
	Manage  manage.Config  `embed:""`
}

// URL is the address of the viewer page at a host and port.
func (r Reached) URL(host string) string {
	return r.TLS().Scheme() + "://" + host + r.BasePath + "/"
}

// TLS is the certificate's files.
func (r Reached) TLS() telemetry.TLSFiles {
	return telemetry.TLSFiles{Cert: r.TLSCert, Key: r.TLSKey}
}

// Config is the gateway's settings.
type Config struct {
	Reached

	Live    live.Config    `embed:""`
	Predict predict.Config `embed:""`

	// Listening, when set, is told the address that was bound, which matters for port 0.
	Listening func(net.Addr) `kong:"-"`
}

// Validate returns [ErrConfig] when a setting makes no sense.
func (c Config) Validate() error {
	for flag, value := range map[string]int64{
		"max-viewers": int64(c.Live.MaxViewers), "max-watched": int64(c.Live.MaxWatched), "max-sources": int64(c.Live.MaxSources),
		"frame-bytes": c.Live.FrameBytes, "total-frame-bytes": c.Live.TotalFrameBytes, "queue": int64(c.Live.Queue),
		"predict-inflight": int64(c.Predict.Inflight), "predict-queue": int64(c.Predict.Queue), "max-pixels": int64(c.Predict.MaxPixels),
		"watch-within": int64(c.Live.WatchWithin), "write-timeout": int64(c.Live.WriteTimeout), "ping-every": int64(c.Live.PingEvery),
	} {
		if value < 1 {
			return fmt.Errorf("%w: --%s %d must be above 0", ErrConfig, flag, value)
		}
	}
	if err := rest.ValidBasePath(c.BasePath); err != nil {
		return fmt.Errorf("%w: --base-path: %w", ErrConfig, err)
	}
	if err := c.TLS().Validate(); err != nil {
		return fmt.Errorf("%w: --tls-cert, --tls-key: %w", ErrConfig, err)
	}
	if err := c.Callers.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := c.Access.Validate(c.HTTP); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := c.Manage.Validate(c.HTTP, c.Access); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for flag, patterns := range map[string][]string{"hosts": c.Hosts, "origins": c.Origins} {
		for _, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return fmt.Errorf("%w: --%s %q is no host pattern", ErrConfig, flag, pattern)
			}
		}
	}
	return nil
}
