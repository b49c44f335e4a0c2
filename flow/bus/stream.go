package bus

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// MaxPayload is the server's max_payload; MaxMessage is what a stream takes: room for headers is left.
const (
	MaxPayload = 4 << 20
	MaxMessage = MaxPayload - 64<<10
)

// Guards of the live streams: credits and deadlines bound them long before.
const (
	liveKeep        = 30 * time.Second
	liveFrames      = 4096
	liveFrameBytes  = 512 << 20
	liveResultBytes = 256 << 20
)

// Limits are what a deployment may choose about its streams.
type Limits struct {
	Replicas   int           // 1, or 3 in a cluster
	ScenesKeep time.Duration // how long a lossless scene stays readable
	// GuardBytes bounds each lossless stream. The window of each source bounds it long before.
	GuardBytes int64
	// LiveInMemory keeps the live streams in the server's memory. It is for a server that ends together with its services:
	// one that comes back alone has lost streams and consumers of that kind, and publishes to them go nowhere.
	LiveInMemory bool
}

// DefaultLimits are those of a single server.
func DefaultLimits() Limits {
	return Limits{Replicas: 1, ScenesKeep: 15 * time.Minute, GuardBytes: 2 << 30}
}

// LiveMemory is what live streams in memory reserve at most: a server must allow it. They take what they hold.
const LiveMemory = liveFrameBytes + (1+flow.MaxGroups)*liveResultBytes

func framesStream(mode flow.Mode) string { return "FRAMES_" + strings.ToUpper(string(mode)) }
func scenesStream(mode flow.Mode) string { return "SCENES_" + strings.ToUpper(string(mode)) }
func resultsStream(group string, mode flow.Mode) string {
	return "RESULTS_" + strings.ToUpper(group) + "_" + strings.ToUpper(string(mode))
}
func fuseConsumer(partition int) string { return fmt.Sprintf("FUSE_%d", partition) }

// modeStreams are the streams of one mode: frames, scenes, and results of each group.
func modeStreams(mode flow.Mode, groups flow.Groups, limits Limits) []jetstream.StreamConfig {
	common := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Replicas: limits.Replicas, Retention: jetstream.InterestPolicy,
		Discard: jetstream.DiscardNew, MaxBytes: limits.GuardBytes, MaxMsgSize: MaxMessage, Duplicates: 2 * time.Minute,
	}
	live := mode == flow.ModeLive
	if live {
		common.MaxAge = liveKeep
		if limits.LiveInMemory {
			common.Storage = jetstream.MemoryStorage
		}
	}
	frames := common
	frames.Name, frames.Subjects = framesStream(mode), []string{"frames." + string(mode) + ".>"}
	frames.RePublish = &jetstream.RePublish{Source: "frames." + string(mode) + ".>", Destination: "accepted." + string(mode) + ".>"}
	scenes := common
	scenes.Name, scenes.Subjects = scenesStream(mode), []string{"scenes." + string(mode) + ".>"}
	scenes.Retention, scenes.Discard, scenes.MaxMsgsPerSubject = jetstream.LimitsPolicy, jetstream.DiscardOld, 1
	if live {
		frames.Duplicates, frames.MaxBytes, frames.MaxMsgs = time.Second, liveFrameBytes, liveFrames
		scenes.Duplicates, scenes.MaxBytes = 2*time.Second, liveResultBytes
	} else {
		scenes.MaxAge = limits.ScenesKeep
		scenes.Duplicates = min(scenes.Duplicates, limits.ScenesKeep)
	}
	configs := []jetstream.StreamConfig{frames, scenes}
	for _, group := range groups {
		results := common
		results.Name = resultsStream(group.Name, mode)
		results.Subjects = []string{"results." + group.Name + "." + string(mode) + ".>"}
		if live {
			results.Discard, results.Duplicates, results.MaxBytes = jetstream.DiscardOld, 2*time.Second, liveResultBytes
		}
		configs = append(configs, results)
	}
	return configs
}
