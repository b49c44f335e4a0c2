package gateway

import (
	"fmt"
	"net"
	"path"
	"time"
)

// Config is the gateway's settings.
type Config struct {
	HTTP    string   `name:"http" default:"127.0.0.1:8000" help:"Address of the viewer page, the websocket and the REST API."`
	Origins []string `placeholder:"HOST" help:"Hosts, besides the gateway's own, whose pages may open the websocket, and, where the gateway listens on the loopback address only, by whose name it may be called; * stands for any part of a name."`

	MaxViewers      int   `default:"1000" help:"Viewers at once; more are answered 503."`
	MaxWatched      int   `default:"20" help:"Sources that one viewer may watch at once."`
	MaxSources      int   `default:"256" help:"Sources that are known at once; the one silent longest makes room for a new one."`
	FrameBytes      int64 `default:"67108864" help:"Bytes of frames kept per source until their scenes come."`
	TotalFrameBytes int64 `default:"536870912" help:"The same, of all sources together."`
	Queue           int   `default:"128" help:"Messages from NATS that may wait for the gateway; what comes beyond is lost to viewers, and counted."`

	PredictInflight int `default:"4" help:"Pictures of POST /predict that may be in the pipeline at once."`
	PredictQueue    int `default:"64" help:"Callers of POST /predict that may wait for their turn, for 2 s at most; more are answered 503."`

	WatchWithin  time.Duration `default:"10s" help:"Time that a viewer has to say what it watches."`
	WriteTimeout time.Duration `default:"10s" help:"Time that a viewer has to take one message, and a caller its answer; a slower one is disconnected."`
	PingEvery    time.Duration `default:"20s" help:"Time between pings of a viewer; one that does not answer within --write-timeout is disconnected."`

	// Listening, when set, is told the address that was bound, which matters for port 0.
	Listening func(net.Addr) `kong:"-"`
}

// Validate returns [ErrConfig] when a setting makes no sense.
func (c Config) Validate() error {
	for flag, value := range map[string]int64{
		"max-viewers": int64(c.MaxViewers), "max-watched": int64(c.MaxWatched), "max-sources": int64(c.MaxSources),
		"frame-bytes": c.FrameBytes, "total-frame-bytes": c.TotalFrameBytes, "queue": int64(c.Queue),
		"predict-inflight": int64(c.PredictInflight), "predict-queue": int64(c.PredictQueue),
		"watch-within": int64(c.WatchWithin), "write-timeout": int64(c.WriteTimeout), "ping-every": int64(c.PingEvery),
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
