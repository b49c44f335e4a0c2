package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

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

// SourcesBucket is the KV bucket of the sources that are configured at run time.
const SourcesBucket = "sources"

// watchersKept is how long a consumer of a bucket stays that nobody asks for messages, even one that is durable.
const watchersKept = 5 * time.Minute

const ackWait = 3 * time.Second // what a killed worker or fuser costs; renewed every second by InProgress

func framesStream(mode flow.Mode) string { return "FRAMES_" + strings.ToUpper(string(mode)) }
func scenesStream(mode flow.Mode) string { return "SCENES_" + strings.ToUpper(string(mode)) }
func resultsStream(group string, mode flow.Mode) string {
	return "RESULTS_" + strings.ToUpper(group) + "_" + strings.ToUpper(string(mode))
}
func bucketStream(bucket string) string { return "KV_" + bucket }
func fuseConsumer(partition int) string { return fmt.Sprintf("FUSE_%d", partition) }

// layout is one stream of a deployment, with its consumers. A KV bucket is a stream too.
type layout struct {
	config    jetstream.StreamConfig
	consumers []jetstream.ConsumerConfig
	live      bool
}

// layouts are all streams of a deployment but those of groups that are retired, with its prefix. The object's bucket is the first.
func (b *Bus) layouts(d flow.Deployment) []layout {
	all := plainLayouts(d)
	for i := range all {
		config := &all[i].config
		config.Name = b.name(config.Name)
		for j, subject := range config.Subjects {
			config.Subjects[j] = b.Subject(subject)
		}
		if again := config.RePublish; again != nil {
			again.Source, again.Destination = b.Subject(again.Source), b.Subject(again.Destination)
		}
		for j := range all[i].consumers {
			all[i].consumers[j].FilterSubject = b.Subject(all[i].consumers[j].FilterSubject)
		}
	}
	return all
}

func plainLayouts(d flow.Deployment) []layout {
	all := buckets(d.Limits)
	for _, mode := range flow.Modes {
		all = append(all, framesLayout(mode, d), layout{config: scenesConfig(mode, d.Limits), live: mode == flow.ModeLive})
		for _, group := range d.Groups {
			if !group.Retired {
				all = append(all, resultsLayout(group, mode, d))
			}
		}
	}
	return all
}

// StreamState is a stream of a deployment, by its name without the deployment's prefix.
type StreamState struct {
	Name  string
	State jetstream.StreamState
	Most  int64 // bytes; -1: no bound
}

// Streams are those of a deployment that are there, by name; each is asked about on its own. The error is that of one which does
// not answer.
func (b *Bus) Streams(ctx context.Context, d flow.Deployment) ([]StreamState, error) {
	layouts := plainLayouts(d)
	states, asked := make([]StreamState, len(layouts)), errgroup.Group{}
	for i, one := range layouts {
		asked.Go(func() error {
			stream, err := b.js.Stream(ctx, b.name(one.config.Name))
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("look up stream %s: %w", one.config.Name, err)
			}
			info := stream.CachedInfo()
			states[i] = StreamState{one.config.Name, info.State, info.Config.MaxBytes}
			return nil
		})
	}
	err := asked.Wait()
	states = slices.DeleteFunc(states, func(s StreamState) bool { return s.Name == "" })
	slices.SortFunc(states, func(a, b StreamState) int { return cmp.Compare(a.Name, b.Name) })
	return states, err
}

// buckets are the KV buckets of a deployment, as the streams that nats.go makes of them.
func buckets(limits flow.Limits) []layout {
	bucket := func(name string, bytes int64, keep time.Duration) layout {
		config := jetstream.StreamConfig{
			Name: bucketStream(name), Subjects: []string{"$KV." + name + ".>"}, Storage: jetstream.FileStorage, Replicas: limits.Replicas,
			Discard: jetstream.DiscardNew, MaxBytes: bytes, MaxMsgsPerSubject: 1, MaxAge: keep, Duplicates: 2 * time.Minute,
			MaxMsgSize: -1, AllowRollup: true, DenyDelete: true, AllowDirect: true, AllowMsgTTL: name == AttemptsBucket,
		}
		config.ConsumerLimits.InactiveThreshold = watchersKept // whoever may watch a key could make a consumer that stays
		if keep > 0 {
			config.Duplicates = min(config.Duplicates, keep)
		}
		return layout{config: config}
	}
	return []layout{
		bucket(DeploymentBucket, 1<<20, 0), bucket(PositionsBucket, 64<<20, limits.PositionsKeep), bucket(OwnersBucket, 1<<20, leaseTTL),
		bucket(AttemptsBucket, 4<<20, attemptsKept), bucket(SourcesBucket, 2<<20, 0),
	}
}

// stored is what the streams of a mode have in common.
func stored(mode flow.Mode, limits flow.Limits) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Replicas: limits.Replicas, Retention: jetstream.InterestPolicy,
		Discard: jetstream.DiscardNew, MaxBytes: limits.GuardBytes, MaxMsgSize: MaxMessage, Duplicates: 2 * time.Minute,
	}
	if mode == flow.ModeLive {
		config.MaxAge, config.Replicas, config.Duplicates = liveKeep, limits.LiveReplicas, 2*time.Second
		config.MaxBytes = limits.LiveResultBytes
		if limits.LiveStorage == flow.LiveInMemory {
			config.Storage = jetstream.MemoryStorage
		}
	}
	return config
}

func consumer(name, filter string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: name, FilterSubject: filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1,
	}
}

func framesLayout(mode flow.Mode, d flow.Deployment) layout {
	config := stored(mode, d.Limits)
	config.Name, config.Subjects = framesStream(mode), []string{"frames." + string(mode) + ".>"}
	config.RePublish = &jetstream.RePublish{Source: "frames." + string(mode) + ".>", Destination: "accepted." + string(mode) + ".>"}
	frames := layout{config: config, live: mode == flow.ModeLive}
	if frames.live {
		frames.config.Duplicates, frames.config.MaxBytes, frames.config.MaxMsgs = time.Second, d.Limits.LiveFrameBytes, liveFrames
	}
	for _, group := range d.Groups {
		if !group.Off {
			frames.consumers = append(frames.consumers, consumer(group.Name, group.FrameFilter(mode)))
		}
	}
	return frames
}

func scenesConfig(mode flow.Mode, limits flow.Limits) jetstream.StreamConfig {
	config := stored(mode, limits)
	config.Name, config.Subjects = scenesStream(mode), []string{"scenes." + string(mode) + ".>"}
	config.Retention, config.Discard, config.MaxMsgsPerSubject = jetstream.LimitsPolicy, jetstream.DiscardOld, 1
	if mode == flow.ModeLossless {
		config.MaxAge = limits.ScenesKeep
		config.Duplicates = min(config.Duplicates, limits.ScenesKeep)
	}
	return config
}

func resultsLayout(group flow.Group, mode flow.Mode, d flow.Deployment) layout {
	config := stored(mode, d.Limits)
	config.Name, config.Subjects = resultsStream(group.Name, mode), []string{"results." + group.Name + "." + string(mode) + ".>"}
	results := layout{config: config, live: mode == flow.ModeLive}
	if results.live {
		results.config.Discard = jetstream.DiscardOld
	}
	for p := range d.Partitions {
		results.consumers = append(results.consumers, consumer(fuseConsumer(p), flow.ResultFilter(group.Name, mode, p)))
	}
	return results
}
