package gateway

import (
	"fmt"
	"net"
	"path"

	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
)

// Config is the gateway's settings.
type Config struct {
	HTTP    string   `name:"http" default:"127.0.0.1:8000" help:"Address of the viewer page, the websocket and the REST API."`
	Origins []string `placeholder:"HOST" help:"Hosts, besides the gateway's own, whose pages may open the websocket, and, where the gateway listens on the loopback address only, by whose name it may be called; * stands for any part of a name."`

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
		"predict-inflight": int64(c.Predict.Inflight), "predict-queue": int64(c.Predict.Queue),
		"watch-within": int64(c.Live.WatchWithin), "write-timeout": int64(c.Live.WriteTimeout), "ping-every": int64(c.Live.PingEvery),
	} {
		if value < 1 {
			return fmt.Errorf("%w: --%s %d must be above 0", ErrConfig, flag, value)
		}
	}
	for _, origin := range c.Origins {
		if _, err := path.Match(origin, ""); err != nil || origin == "" {
			return fmt.Errorf("%w: --origins %q is no host pattern", ErrConfig, origin)
		}
	}
	return nil
}
