package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Bucket is the KV bucket of the groups entry and of the positions.
const Bucket = "spatialflow"

const (
	groupsKey = "groups"
	ackWait   = 3 * time.Second // what a killed worker or fuser costs; renewed every second by InProgress
)

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
