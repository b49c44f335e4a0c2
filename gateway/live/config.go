package live

import "time"

// Config is the settings of what viewers get.
type Config struct {
	MaxViewers      int   `default:"1000" help:"Viewers at once; more are answered 503."`
	MaxWatched      int   `default:"20" help:"Sources that one viewer may watch at once."`
	MaxSources      int   `default:"256" help:"Sources that are known at once; the one silent longest makes room for a new one."`
	FrameBytes      int64 `default:"67108864" help:"Bytes of frames kept per source until their scenes come."`
	TotalFrameBytes int64 `default:"536870912" help:"The same, of all sources together."`
	Queue           int   `default:"128" help:"Messages from NATS that may wait for the gateway; what comes beyond is lost to viewers, and counted."`

	WatchWithin  time.Duration `default:"10s" help:"Time that a viewer has to say what it watches."`
	WriteTimeout time.Duration `default:"10s" help:"Time that a viewer has to take 64 KiB, and a caller its answer; a slower one is disconnected."`
	PingEvery    time.Duration `default:"20s" help:"Time between pings of a viewer; one that does not answer within --write-timeout is disconnected."`

	// AllFrames takes the frames of all lossless sources, whether somebody watches them or not, so that whoever comes later sees the
	// newest picture at once: for a gateway in the process of its producers, whose frames are there anyway.
	AllFrames bool `kong:"-"`

	// ViewerBytes is how many bytes of scenes a viewer is sent a second, at most; 0: no limit.
	ViewerBytes int64 `kong:"-"`
}
