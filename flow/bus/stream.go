package bus

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// MaxPayload is the max_payload that a server should have; MaxMessage is what a stream takes: room for headers is left.
const (
	MaxPayload = 4 << 20
	MaxMessage = MaxPayload - headerRoom
)

// Guards of the live streams beside their bytes: credits and deadlines bound them long before.
const (
	liveKeep   = 30 * time.Second
	liveFrames = 4096
)

func framesStream(mode flow.Mode) string { return "FRAMES_" + strings.ToUpper(string(mode)) }
func scenesStream(mode flow.Mode) string { return "SCENES_" + strings.ToUpper(string(mode)) }
func resultsStream(group string, mode flow.Mode) string {
	return "RESULTS_" + strings.ToUpper(group) + "_" + strings.ToUpper(string(mode))
}
func fuseConsumer(partition int) string { return fmt.Sprintf("FUSE_%d", partition) }

// modeStreams are the streams of one mode: frames, scenes, and results of each group.
func modeStreams(mode flow.Mode, groups flow.Groups, limits flow.Limits) []jetstream.StreamConfig {
	common := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Replicas: limits.Replicas, Retention: jetstream.InterestPolicy,
		Discard: jetstream.DiscardNew, MaxBytes: limits.GuardBytes, MaxMsgSize: MaxMessage, Duplicates: 2 * time.Minute,
	}
	live := mode == flow.ModeLive
	if live {
		common.MaxAge, common.Replicas = liveKeep, limits.LiveReplicas
		if limits.LiveStorage == flow.LiveInMemory {
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
		frames.Duplicates, frames.MaxBytes, frames.MaxMsgs = time.Second, limits.LiveFrameBytes, liveFrames
		scenes.Duplicates, scenes.MaxBytes = 2*time.Second, limits.LiveResultBytes
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
			results.Discard, results.Duplicates, results.MaxBytes = jetstream.DiscardOld, 2*time.Second, limits.LiveResultBytes
		}
		configs = append(configs, results)
	}
	return configs
}
