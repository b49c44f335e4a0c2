package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

const ackWait = 3 * time.Second // what a killed worker or fuser costs; renewed every second by InProgress

// Provision creates or updates the streams, consumers and KV buckets of a deployment, for both modes, and writes its object.
// Consumers come before anything is published: an Interest stream without a consumer throws frames away.
// The consumer of a group that is off is deleted, which frees the frames that waited for it.
func (b *Bus) Provision(ctx context.Context, d flow.Deployment) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	for _, mode := range flow.Modes {
		for _, config := range modeStreams(mode, d.Groups, d.Limits) {
			if err := b.provisionStream(ctx, config, mode); err != nil {
				return fmt.Errorf("provision stream %s: %w", config.Name, err)
			}
		}
	}
	for _, group := range d.Groups {
		for _, mode := range flow.Modes {
			if err := b.provisionGroup(ctx, group, mode, d.Partitions); err != nil {
				return err
			}
		}
	}
	for _, config := range buckets(d.Limits) {
		if _, err := b.js.CreateOrUpdateKeyValue(ctx, config); err != nil {
			return fmt.Errorf("provision KV bucket %s: %w", config.Bucket, err)
		}
	}
	kv, err := b.bucket(ctx, DeploymentBucket)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, deploymentKey, d.Encode()); err != nil {
		return fmt.Errorf("provision the deployment object: %w", err)
	}
	return b.deleteLeftOut(ctx, d.Groups) // after the object: nobody plans with them any more
}

// buckets are the KV buckets of a deployment.
func buckets(limits flow.Limits) []jetstream.KeyValueConfig {
	common := jetstream.KeyValueConfig{Replicas: limits.Replicas, Storage: jetstream.FileStorage}
	deployment, positions, owners := common, common, common
	deployment.Bucket, deployment.MaxBytes = DeploymentBucket, 1<<20
	positions.Bucket, positions.MaxBytes, positions.TTL = PositionsBucket, 64<<20, limits.PositionsKeep
	owners.Bucket, owners.MaxBytes, owners.TTL = OwnersBucket, 1<<20, leaseTTL
	return []jetstream.KeyValueConfig{deployment, positions, owners}
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

func (b *Bus) provisionGroup(ctx context.Context, group flow.Group, mode flow.Mode, partitions int) error {
	config := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1,
	}
	for p := range partitions {
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
