package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// Provision is [Bus.Apply] for who need not know what it did.
func (b *Bus) Provision(ctx context.Context, asked flow.Deployment) error {
	_, err := b.Apply(ctx, asked)
	return err
}

// Apply makes what a deployment needs, for both modes, and writes its object: what [flow.Merge] makes of the one that is there and
// the one that is asked for. It returns when all replicas are there. Streams and consumers come before the object names them, for an Interest stream without a consumer
// throws frames away; the consumer of a group that is off goes after it, which frees the frames that waited for it. What is
// as it should be is left alone. Who provisions at the same time is read again and merged with.
//
// Each call to the server has a short time of its own and is repeated until ctx ends, as while the servers of a cluster elect.
// [flow.ErrDeployment] or [flow.ErrGroups] is returned when the two don't go together, [flow.ErrNewer] when a newer program wrote
// the object, and [ErrServer] when the server has no room for the streams, or no JetStream.
func (b *Bus) Apply(ctx context.Context, asked flow.Deployment) (changes []Change, err error) {
	for {
		done, again, err := b.apply(ctx, asked)
		changes = append(changes, done...)
		if err != nil || !again {
			return changes, err
		}
		if !clock.Sleep(ctx, callWait) {
			return changes, fmt.Errorf("provision the deployment object, which others write too: %w", context.Cause(ctx))
		}
	}
}

// Difference is what [Bus.Apply] would do, and changes nothing.
func (b *Bus) Difference(ctx context.Context, asked flow.Deployment) ([]Change, error) {
	old, _, err := b.recorded(ctx)
	if err != nil {
		return nil, err
	}
	merged, said, err := flow.Merge(old.Deployment, asked)
	if err != nil {
		return nil, err
	}
	before, after, err := b.difference(ctx, merged, lookMost, giveUp)
	if err != nil {
		return nil, err
	}
	changes := told(said)
	for _, step := range append(before, after...) {
		changes = append(changes, step.Change)
	}
	return changes, nil
}

const lookMost = time.Minute // for what is said of one stream, in an attempt that may end without it

func giveUp(_ layout, err error) ([]step, error) { return nil, err }

func told(said []string) (changes []Change) {
	for _, line := range said {
		changes = append(changes, Change{"deployment", line})
	}
	return changes
}

// apply is one attempt; again is true when somebody else has written the object in the meantime.
func (b *Bus) apply(ctx context.Context, asked flow.Deployment) (changes []Change, again bool, err error) {
	old, revision, err := b.recorded(ctx)
	if err != nil {
		return nil, false, err
	}
	if old.before { // its entry goes with the age of the positions beside it: the object has to hold it first
		made, err := b.run(ctx, b.makeStream(b.layouts(asked)[0], true, "made"))
		if err != nil {
			return made, false, err
		}
		_, err = b.writeDeployment(ctx, old.Deployment, 0)
		return made, true, err
	}
	merged, said, err := flow.Merge(old.Deployment, asked)
	if err != nil {
		return nil, false, fmt.Errorf("provision: %w", err)
	}
	before, after, err := b.difference(ctx, merged, lookMost, giveUp)
	if err != nil {
		return nil, false, err
	}
	if changes, err = b.run(ctx, before); err != nil {
		return changes, false, err
	}
	if revision == 0 || string(merged.Encode()) != string(old.Encode()) {
		written, err := b.writeDeployment(ctx, merged, revision)
		if err != nil || !written {
			return changes, true, err
		}
		changes = append(told(said), changes...)
	} else {
		changes = append(told(said), changes...) // what was asked for and is not done
	}
	done, err := b.run(ctx, after)
	changes = append(changes, done...)
	if err == nil && (merged.Limits.Replicas > old.Limits.Replicas || merged.Limits.LiveReplicas > old.Limits.LiveReplicas) {
		err = b.copied(ctx, merged)
	}
	return changes, false, err
}

// copied waits until each replica of each stream and consumer has all that is in it. Those that get more replicas have them
// after some seconds, and until then go away with the one server that had them.
func (b *Bus) copied(ctx context.Context, d flow.Deployment) error {
	for _, want := range b.layouts(d) {
		for {
			complete, err := b.isCopied(ctx, want)
			if err != nil {
				return err
			}
			if complete {
				break
			}
			if !clock.Sleep(ctx, callWaitMax) {
				return fmt.Errorf("wait for %d replicas of stream %s: %w", want.config.Replicas, want.config.Name, context.Cause(ctx))
			}
		}
	}
	return nil
}

func (b *Bus) isCopied(ctx context.Context, want layout) (bool, error) {
	info, err := b.streamInfo(ctx, want.config.Name)
	if err != nil || info == nil {
		return err == nil, err
	}
	complete := hasCopies(info.Cluster, want.config.Replicas)
	if len(want.consumers) == 0 {
		return complete, nil
	}
	consumers, err := b.consumers(ctx, want.config.Name)
	if err != nil {
		return false, err
	}
	for _, consumer := range want.consumers {
		info := consumers[consumer.Durable]
		complete = complete && info != nil && hasCopies(info.Cluster, want.config.Replicas)
	}
	return complete, nil
}

func hasCopies(cluster *jetstream.ClusterInfo, replicas int) bool {
	if cluster == nil || cluster.Leader == "" {
		return replicas == 1
	}
	current := 1
	for _, peer := range cluster.Replicas {
		if peer.Current && !peer.Offline {
			current++
		}
	}
	return current >= replicas
}

// run does steps one after the other, and returns those that are done.
func (b *Bus) run(ctx context.Context, steps []step) (done []Change, err error) {
	for _, step := range steps {
		if err := b.repeated(ctx, step.make); err != nil {
			return done, fmt.Errorf("provision %s: %w", step.Text, roomError(err))
		}
		done = append(done, step.Change)
	}
	return done, nil
}

// record is the deployment object, or what the version before wrote.
type record struct {
	flow.Deployment
	before bool
}

const groupsKey = "groups" // of the version before, in PositionsBucket

// recorded is the deployment object and its revision: none, of version 0 and revision 0, when nothing was provisioned yet.
func (b *Bus) recorded(ctx context.Context) (old record, revision uint64, err error) {
	err = b.repeated(ctx, func(ctx context.Context) error {
		old, revision = record{}, 0
		there, err := b.hasBucket(ctx, DeploymentBucket)
		if err != nil {
			return err
		}
		if there {
			old.Deployment, revision, err = b.Deployment(ctx)
			if !errors.Is(err, ErrNotProvisioned) {
				return err
			}
		}
		if there, err = b.hasBucket(ctx, PositionsBucket); err != nil || !there {
			return err
		}
		kv, err := b.bucket(ctx, PositionsBucket)
		if err != nil {
			return err
		}
		entry, err := kv.Get(ctx, groupsKey)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the groups of the version before: %w", err)
		}
		groups, err := flow.ParseGroups(entry.Value())
		if err != nil {
			return fmt.Errorf("groups of the version before: %w", err)
		}
		old = record{flow.OldDeployment(groups), true}
		return nil
	})
	if err != nil {
		return record{}, 0, fmt.Errorf("read what is provisioned: %w", err)
	}
	return old, revision, nil
}

// hasBucket asks the server: an entry of a bucket that was deleted is asked for in vain.
func (b *Bus) hasBucket(ctx context.Context, name string) (bool, error) {
	_, err := b.js.Stream(ctx, b.name(bucketStream(name)))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	return err == nil, err
}

// writeDeployment writes the object in the place of that revision, 0 for none; false is returned when it is another one by now.
func (b *Bus) writeDeployment(ctx context.Context, d flow.Deployment, revision uint64) (written bool, err error) {
	err = b.repeated(ctx, func(ctx context.Context) error {
		kv, err := b.bucket(ctx, DeploymentBucket)
		if err != nil {
			return err
		}
		if revision == 0 {
			_, err = kv.Create(ctx, deploymentKey, d.Encode())
		} else {
			_, err = kv.Update(ctx, deploymentKey, d.Encode(), revision)
		}
		written = err == nil
		var api *jetstream.APIError
		if errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == codeWrongLastSequence {
			return nil // or an earlier call was heard and its answer was not: what is there tells
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("write the deployment object: %w", err)
	}
	return written, nil
}

// RaiseWire makes the deployment write messages of a version, unless it writes newer ones: all that are alive must read it.
// [ErrNotProvisioned] is returned when there is no deployment object.
func (b *Bus) RaiseWire(ctx context.Context, wire int) error {
	for {
		old, revision, err := b.recorded(ctx)
		if err != nil {
			return err
		}
		if revision == 0 {
			return fmt.Errorf("raise the version of messages: %w", ErrNotProvisioned)
		}
		if old.Wire >= wire {
			return nil
		}
		old.Wire = wire
		if written, err := b.writeDeployment(ctx, old.Deployment, revision); err != nil || written {
			return err
		}
		if !clock.Sleep(ctx, callWait) {
			return fmt.Errorf("raise the version of messages: %w", context.Cause(ctx))
		}
	}
}

// Repairs makes again what is removed from a deployment.
type Repairs struct {
	bus    *Bus
	lost   map[string]time.Time // live streams that don't answer, by name: since when
	wanted map[string]time.Time // changes of what is there, by text: since when
}

// NewRepairs has seen nothing yet.
func (b *Bus) NewRepairs() *Repairs { return &Repairs{bus: b} }

const (
	roundLook   = 8 * time.Second  // for what is said of one stream
	roundStep   = 5 * time.Second  // for one thing that is done
	lostAfter   = 15 * time.Second // an election takes 4 to 9 s
	wantedAfter = 2 * time.Minute  // somebody may provision: what is there is set as the next object says, which is written last
)

// Round makes again the streams, consumers and buckets of the deployment that are not there, and its object, d, if that is gone.
// What is there and set otherwise is mended after two minutes. A live stream of a cluster whose servers are away is made
// anew on others after 15 s: what it held is old. The error joins what could not be looked at or done; the rest is done all the same.
// Nothing is done any more once the object that is stored is another one than d, which was provisioned meanwhile.
func (r *Repairs) Round(ctx context.Context, d flow.Deployment) (changes []Change, err error) {
	var failures []error
	now, lost, wanted := time.Now(), map[string]time.Time{}, map[string]time.Time{}
	before, after, err := r.bus.difference(ctx, d, roundLook, func(want layout, err error) ([]step, error) {
		failures = append(failures, err)
		if !want.live || r.bus.conn.ConnectedClusterName() == "" || !since(r.lost, lost, want.config.Name, now, lostAfter) {
			return nil, nil
		}
		made := append([]step{r.bus.deleteStream(want.config.Name)}, r.bus.makeStream(want, true, "made anew, its servers are away")...)
		made[0].missing = true
		return made, nil
	})
	if err != nil {
		return nil, err
	}
	read := true
	for _, one := range append(before, after...) {
		if !one.missing && !since(r.wanted, wanted, one.Text, now, wantedAfter) {
			continue
		}
		if read {
			switch other, err := r.isAnother(ctx, d); {
			case err != nil: // nobody writes what can't be read
				failures, read = append(failures, err), false
			case other:
				return changes, errors.Join(failures...)
			}
		}
		call, cancel := context.WithTimeout(ctx, roundStep)
		done, err := r.bus.run(call, []step{one})
		cancel()
		if err != nil {
			failures = append(failures, err)
		}
		changes = append(changes, done...)
	}
	r.lost, r.wanted = lost, wanted
	call, cancel := context.WithTimeout(ctx, roundStep)
	defer cancel()
	_, revision, err := r.bus.recorded(call)
	if err == nil && revision == 0 {
		var written bool
		if written, err = r.bus.writeDeployment(call, d, 0); written {
			changes = append(changes, Change{"deployment", "deployment: written again"})
		}
	}
	return changes, errors.Join(append(failures, err)...)
}

// isAnother says whether the object that is stored is another one than d: what was seen to be missing may be so on purpose.
func (r *Repairs) isAnother(ctx context.Context, d flow.Deployment) (bool, error) {
	call, cancel := context.WithTimeout(ctx, roundStep)
	defer cancel()
	stored, revision, err := r.bus.recorded(call)
	return err == nil && revision != 0 && string(stored.Encode()) != string(d.Encode()), err
}

// since notes in next that something is so now, as it was in the round before, and says whether it has been for so long.
func since(before, next map[string]time.Time, what string, now time.Time, long time.Duration) bool {
	began, known := before[what]
	if !known {
		began = now
	}
	next[what] = began
	return now.Sub(began) >= long
}
