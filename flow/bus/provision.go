package bus

import (
	"context"
	"errors"
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

// Bucket is the KV bucket of the groups entry and of the positions.
const Bucket = "spatialflow"

const (
	groupsKey = "groups"
	ackWait   = 3 * time.Second // what a killed worker or fuser costs; renewed every second by InProgress

	// Guards of the live streams: credits and deadlines bound them long before.
	liveKeep        = 30 * time.Second
	liveFrames      = 4096
	liveFrameBytes  = 512 << 20
	liveResultBytes = 256 << 20
)

// LiveMemory is what live streams in memory reserve at most: a server must allow it. They take what they hold.
const LiveMemory = liveFrameBytes + (1+flow.MaxGroups)*liveResultBytes

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

// Provision creates or updates the streams, consumers and KV entries of the groups, for both modes.
// Consumers come before anything is published: an Interest stream without a consumer throws frames away.
// The consumer of a group that is off is deleted, which frees the frames that waited for it.
func (b *Bus) Provision(ctx context.Context, groups flow.Groups, limits Limits) error {
	if err := groups.Validate(); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	for _, mode := range flow.Modes {
		for _, config := range modeStreams(mode, groups, limits) {
			if err := b.provisionStream(ctx, config, mode); err != nil {
				return fmt.Errorf("provision stream %s: %w", config.Name, err)
			}
		}
	}
	for _, group := range groups {
		for _, mode := range flow.Modes {
			if err := b.provisionGroup(ctx, group, mode); err != nil {
				return err
			}
		}
	}
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: Bucket, Replicas: limits.Replicas, Storage: jetstream.FileStorage, MaxBytes: 64 << 20})
	if err != nil {
		return fmt.Errorf("provision KV bucket %s: %w", Bucket, err)
	}
	owners := jetstream.KeyValueConfig{Bucket: OwnersBucket, Replicas: limits.Replicas, Storage: jetstream.FileStorage, MaxBytes: 1 << 20, TTL: leaseTTL}
	if _, err := b.js.CreateOrUpdateKeyValue(ctx, owners); err != nil {
		return fmt.Errorf("provision KV bucket %s: %w", OwnersBucket, err)
	}
	if _, err := kv.Put(ctx, groupsKey, groups.Encode()); err != nil {
		return fmt.Errorf("provision groups entry: %w", err)
	}
	return b.deleteLeftOut(ctx, groups) // after the entry: nobody plans with them any more
}

// provisionStream creates or updates one stream. Where a stream is stored can't be updated. A live one in files is made
// anew when it is to be in memory: nobody wants its frames back after the restart that comes with that. One in memory stays
// there: its server has the services in its own process.
func (b *Bus) provisionStream(ctx context.Context, config jetstream.StreamConfig, mode flow.Mode) error {
	stream, err := b.js.Stream(ctx, config.Name)
	if err == nil && mode == flow.ModeLive {
		switch stored := stream.CachedInfo().Config.Storage; {
		case stored == jetstream.MemoryStorage:
			config.Storage = stored
		case config.Storage == jetstream.MemoryStorage:
			if err := b.js.DeleteStream(ctx, config.Name); err != nil {
				return fmt.Errorf("delete what is stored in files: %w", err)
			}
		}
	}
	_, err = b.js.CreateOrUpdateStream(ctx, config)
	return err
}

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

func (b *Bus) provisionGroup(ctx context.Context, group flow.Group, mode flow.Mode) error {
	config := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1,
	}
	for p := range flow.Partitions {
		fuse := config
		fuse.Durable, fuse.FilterSubject = fuseConsumer(p), flow.ResultFilter(group.Name, mode, p)
		if _, err := b.js.CreateOrUpdateConsumer(ctx, resultsStream(group.Name, mode), fuse); err != nil {
			return fmt.Errorf("provision consumer %s of group %s: %w", fuse.Durable, group.Name, err)
		}
	}
	if group.Off {
		return nil
	}
	stream := framesStream(mode)
	config.Durable, config.FilterSubject = group.Name, group.FrameFilter(mode)
	if _, err := b.js.CreateOrUpdateConsumer(ctx, stream, config); err != nil {
		return fmt.Errorf("provision consumer %s of %s: %w", group.Name, stream, err)
	}
	return nil
}

func (b *Bus) deleteLeftOut(ctx context.Context, groups flow.Groups) error {
	for _, mode := range flow.Modes {
		stream := framesStream(mode)
		for _, group := range groups {
			if !group.Off {
				continue
			}
			if err := b.js.DeleteConsumer(ctx, stream, group.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("delete consumer %s of %s: %w", group.Name, stream, err)
			}
		}
	}
	return nil
}

// Groups reads the groups entry. [ErrNotProvisioned] is returned when there is none yet.
func (b *Bus) Groups(ctx context.Context) (flow.Groups, error) {
	kv, err := b.bucket(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	entry, err := kv.Get(ctx, groupsKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: no groups entry", ErrNotProvisioned)
	}
	if err != nil {
		return nil, fmt.Errorf("read groups entry: %w", err)
	}
	return flow.ParseGroups(entry.Value())
}
