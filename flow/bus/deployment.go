package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// DeploymentBucket is the KV bucket of the deployment object, which is its only key.
const DeploymentBucket = "deployment"

const (
	deploymentKey = "deployment"
	kvOperation   = "KV-Operation" // header of what is no value but a deletion
)

// Deployment reads the deployment object, and its revision. [ErrNotProvisioned] is returned when there is none yet.
func (b *Bus) Deployment(ctx context.Context) (flow.Deployment, uint64, error) {
	kv, err := b.bucket(ctx, DeploymentBucket)
	if err != nil {
		return flow.Deployment{}, 0, err
	}
	entry, err := kv.Get(ctx, deploymentKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return flow.Deployment{}, 0, fmt.Errorf("%w: no deployment object", ErrNotProvisioned)
	}
	if err != nil {
		return flow.Deployment{}, 0, fmt.Errorf("read the deployment object: %w", err)
	}
	d, err := flow.ParseDeployment(entry.Value())
	return d, entry.Revision(), err
}

// Deployed is the deployment object as it is now: none before the first Set. Its methods may be called from many goroutines.
type Deployed struct {
	mu      sync.Mutex
	now     flow.Deployment
	text    string
	changed chan struct{}
}

// Now is the object, and a channel that is closed when it is another one. What Groups holds must not be changed.
func (d *Deployed) Now() (flow.Deployment, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	return d.now, d.changed
}

// Groups are those of the object.
func (d *Deployed) Groups() flow.Groups {
	now, _ := d.Now()
	return now.Groups
}

// Set makes it another one.
func (d *Deployed) Set(next flow.Deployment) {
	text := string(next.Encode())
	d.mu.Lock()
	defer d.mu.Unlock()
	if text == d.text {
		return
	}
	d.now, d.text = next, text
	if d.changed != nil {
		close(d.changed)
		d.changed = nil // made when somebody asks
	}
}

// Watch follows the deployment object until ctx ends: what it says and, once that has come, every change, of which the log tells.
// It waits for the object. An object that this program can't read changes nothing, and is logged. The error is that of ctx, or
// [flow.ErrNewer], [flow.ErrDeployment] or [flow.ErrGroups] of the first object.
func (b *Bus) Watch(ctx context.Context, log *slog.Logger) (*Deployed, error) {
	first := make(chan error, 1)
	d := new(Deployed)
	go b.keepWatching(ctx, log, d, first)
	select {
	case err := <-first:
		if err != nil {
			return nil, err
		}
		return d, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the deployment object: %w", context.Cause(ctx))
	}
}

const (
	watchLeast = 50 * time.Millisecond // before the watch is begun again
	watchMost  = 2 * time.Second
)

func (b *Bus) keepWatching(ctx context.Context, log *slog.Logger, d *Deployed, first chan<- error) {
	began, told := false, false
	take := func(object []byte, revision uint64) {
		next, err := flow.ParseDeployment(object)
		switch {
		case err != nil && !began:
			first <- err
			began = true
		case err != nil:
			log.Error("deployment object not taken", "revision", revision, "error", err)
		case !began:
			d.now, d.text = next, string(next.Encode())
			first <- nil
			began = true
		default:
			if string(next.Encode()) != d.text {
				log.Info("deployment changed", "revision", revision, "deployment", string(next.Encode()))
			}
			d.Set(next)
		}
	}
	for wait := watchLeast; ctx.Err() == nil; wait = min(2*wait, watchMost) {
		err := b.watchOnce(ctx, func(object []byte, revision uint64) {
			wait, told = watchLeast, false
			take(object, revision)
		})
		if !told && ctx.Err() == nil && wait > watchLeast {
			log.Warn("waiting for the deployment object", "error", err)
			told = true
		}
		clock.Sleep(ctx, clock.Jitter(wait))
	}
}

const (
	watchHeartbeat = time.Second // without two of them the watch is lost
	watchPull      = 30 * time.Second
)

// watchOnce ends when the bucket is not there or the watch is lost: the next one begins with the object as it is then.
func (b *Bus) watchOnce(ctx context.Context, take func(object []byte, revision uint64)) error {
	return b.WatchKey(ctx, DeploymentBucket, deploymentKey, func(object []byte, revision uint64) {
		if object != nil { // else it was deleted: what it said holds
			take(object, revision)
		}
	})
}

// WatchKey hands on the value of a key of a bucket, and then every change of it, until ctx ends or the watch is lost; why, it returns.
// nil is a key that is not there, or is deleted. It is no watch of nats.go, whose ordered consumer goes on from the revision it knows in a
// bucket that was made anew, where it is not reached for a long time.
//
// [ErrNotProvisioned] is returned when there is no such bucket.
func (b *Bus) WatchKey(ctx context.Context, bucket, key string, take func(value []byte, revision uint64)) error {
	call, cancel := context.WithTimeout(ctx, firstCall)
	defer cancel()
	consumer, err := b.js.CreateConsumer(call, b.name(bucketStream(bucket)), jetstream.ConsumerConfig{
		FilterSubject: b.Subject("$KV." + bucket + "." + key), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 2 * watchPull, MemoryStorage: true, Replicas: 1,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: KV bucket %s", ErrNotProvisioned, bucket)
	}
	if err != nil {
		return fmt.Errorf("watch key %s: %w", key, err)
	}
	if consumer.CachedInfo().NumPending == 0 {
		take(nil, 0)
	}
	messages, err := consumer.Messages(jetstream.PullExpiry(watchPull), jetstream.PullHeartbeat(watchHeartbeat))
	if err != nil {
		return fmt.Errorf("watch key %s: %w", key, err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("watch key %s: %w", key, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("watch key %s: %w", key, err)
		}
		value := msg.Data()
		if msg.Headers().Get(kvOperation) != "" {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		take(value, meta.Sequence.Stream)
	}
}
