package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Change is one thing that provisioning does, or would do.
type Change struct {
	Kind string // deployment, stream, consumer
	Text string // "stream FRAMES_LIVE: made"
}

// step is a change and how it is made. Done twice it changes nothing.
type step struct {
	Change
	missing bool // what is to be made is not there at all
	make    func(context.Context) error
}

// difference is what makes the server what the deployment asks for: what is to be done before the object says so, and what
// after it. The answer about one stream is waited for so long; unseen is told of one that does not come, and says what to do about
// it.
func (b *Bus) difference(ctx context.Context, d flow.Deployment, within time.Duration, unseen func(layout, error) ([]step, error)) (before, after []step, err error) {
	look := func(want layout, ask func(context.Context) ([]step, error)) ([]step, error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		steps, err := ask(ctx)
		if err != nil {
			return unseen(want, err)
		}
		return steps, nil
	}
	for _, want := range b.layouts(d) {
		steps, err := look(want, func(ctx context.Context) ([]step, error) { return b.streamSteps(ctx, want) })
		if err != nil {
			return nil, nil, err
		}
		before = append(before, steps...)
	}
	for _, group := range d.Groups {
		for _, mode := range flow.Modes {
			if !group.Off {
				continue
			}
			frames := layout{config: jetstream.StreamConfig{Name: b.name(framesStream(mode))}}
			steps, err := look(frames, func(ctx context.Context) ([]step, error) { return b.leaveOut(ctx, group, mode) })
			if err != nil {
				return nil, nil, err
			}
			after = append(after, steps...)
		}
	}
	return before, after, nil
}

// streamSteps are those of one stream and its consumers.
func (b *Bus) streamSteps(ctx context.Context, want layout) ([]step, error) {
	name := want.config.Name
	info, err := b.streamInfo(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case info == nil:
		return b.makeStream(want, true, "made"), nil
	case want.live && info.Config.Storage != want.config.Storage: // which can't be updated
		return append([]step{b.deleteStream(name)}, b.makeStream(want, false, "made anew in "+strings.ToLower(want.config.Storage.String()))...), nil
	}
	var steps []step
	shut := len(want.consumers) > 0 && slices.Equal(info.Config.Subjects, []string{name}) // who made it did not end
	if config, differs := updatedStream(info.Config, want.config); differs != nil && !shut {
		steps = append(steps, step{Change{"stream", fmt.Sprintf("stream %s: %s", name, strings.Join(differs, ", "))}, false, func(ctx context.Context) error {
			_, err := b.js.UpdateStream(ctx, config)
			return err
		}})
	}
	if len(want.consumers) == 0 {
		return steps, nil
	}
	have, err := b.consumers(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, consumer := range want.consumers {
		now, there := have[consumer.Durable]
		if !there {
			steps = append(steps, b.setConsumer(name, consumer, true, "made"))
		} else if now == nil { // it has no leader: nothing can be said of it, or done about it
			continue
		} else if config, differs := updatedConsumer(now.Config, consumer); differs != nil {
			steps = append(steps, b.setConsumer(name, config, false, strings.Join(differs, ", ")))
		}
	}
	if shut {
		steps = append(steps, b.openStream(want, true))
	}
	return steps, nil
}

// makeStream comes with its consumers: an Interest stream throws away what it stores before it has one that wants it. So
// it has its subjects last, and until then who publishes hears that there is no stream, and tries again.
func (b *Bus) makeStream(want layout, missing bool, how string) []step {
	config := want.config
	create := func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateStream(ctx, config)
		return err
	}
	if len(want.consumers) > 0 {
		config.Subjects, config.RePublish = nil, nil // its name is its subject then
		create = func(ctx context.Context) error {
			_, err := b.js.CreateStream(ctx, config)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else makes it, or has opened it by now
				return nil
			}
			return err
		}
	}
	steps := []step{{Change{"stream", fmt.Sprintf("stream %s: %s", config.Name, how)}, missing, create}}
	for _, consumer := range want.consumers {
		steps = append(steps, b.setConsumer(config.Name, consumer, missing, "made"))
	}
	if len(want.consumers) > 0 {
		steps = append(steps, b.openStream(want, missing))
	}
	return steps
}

// errNotListed is of a consumer that a server of a cluster made, and another does not tell of yet; or that somebody deleted again.
var errNotListed = errors.New("it is not there yet")

// openStream lets a stream that has its consumers take messages.
func (b *Bus) openStream(want layout, missing bool) step {
	name := want.config.Name
	return step{Change{"stream", fmt.Sprintf("stream %s: takes messages", name)}, missing, func(ctx context.Context) error {
		have, err := b.consumers(ctx, name)
		if err != nil {
			return err
		}
		for _, consumer := range want.consumers {
			if _, there := have[consumer.Durable]; there {
				continue
			}
			if _, err := b.js.CreateOrUpdateConsumer(ctx, name, consumer); err != nil {
				return err
			}
			return fmt.Errorf("consumer %s: %w", consumer.Durable, errNotListed)
		}
		_, err = b.js.UpdateStream(ctx, want.config)
		return err
	}}
}

func (b *Bus) deleteStream(name string) step {
	return step{Change{"stream", fmt.Sprintf("stream %s: deleted", name)}, false, func(ctx context.Context) error {
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		return nil
	}}
}

func (b *Bus) setConsumer(stream string, config jetstream.ConsumerConfig, missing bool, how string) step {
	return step{Change{"consumer", fmt.Sprintf("consumer %s of %s: %s", config.Durable, stream, how)}, missing, func(ctx context.Context) error {
		_, err := b.js.CreateOrUpdateConsumer(ctx, stream, config)
		return err
	}}
}

// leaveOut are the steps for a group that is off: its consumer goes, which frees the frames that waited for it. Once that
// is gone, and nothing is left of what it answered, the results of one that is retired go too.
func (b *Bus) leaveOut(ctx context.Context, group flow.Group, mode flow.Mode) ([]step, error) {
	frames, results := b.name(framesStream(mode)), b.name(resultsStream(group.Name, mode))
	have, err := b.consumers(ctx, frames)
	if err != nil {
		return nil, err
	}
	if _, there := have[group.Name]; there {
		return []step{{Change{"consumer", fmt.Sprintf("consumer %s of %s: deleted", group.Name, frames)}, false, func(ctx context.Context) error {
			if err := b.js.DeleteConsumer(ctx, frames, group.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return err
			}
			return nil
		}}}, nil
	}
	if !group.Retired {
		return nil, nil
	}
	info, err := b.streamInfo(ctx, results)
	if err != nil || info == nil || info.State.Msgs > 0 {
		return nil, err
	}
	return []step{b.deleteStream(results)}, nil
}

// streamInfo is nil when there is no such stream.
func (b *Bus) streamInfo(ctx context.Context, name string) (info *jetstream.StreamInfo, err error) {
	err = b.repeated(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		info = stream.CachedInfo()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", name, err)
	}
	return info, nil
}

// consumerList is what the server answers about the consumers of a stream. Those that have no leader are missing, without
// which nats.go's own list asks for ever.
type consumerList struct {
	Error     *jetstream.APIError       `json:"error"`
	Total     int                       `json:"total"`
	Consumers []*jetstream.ConsumerInfo `json:"consumers"`
	Missing   []string                  `json:"missing"`
}

const listWithin = 6 * time.Second // the server waits 4 s for those that don't answer

// consumers are none when there is no such stream; what is not known of one is nil.
func (b *Bus) consumers(ctx context.Context, name string) (have map[string]*jetstream.ConsumerInfo, err error) {
	err = b.repeatedWithin(ctx, listWithin, func(ctx context.Context) error {
		have = map[string]*jetstream.ConsumerInfo{}
		for {
			answer, err := b.conn.RequestWithContext(ctx, "$JS.API.CONSUMER.LIST."+name, fmt.Appendf(nil, `{"offset":%d}`, len(have)))
			if err != nil {
				return err
			}
			var list consumerList
			if err := json.Unmarshal(answer.Data, &list); err != nil {
				return err
			}
			if list.Error != nil {
				if list.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
					return nil
				}
				return list.Error
			}
			before := len(have)
			for _, info := range list.Consumers {
				have[info.Name] = info
			}
			for _, missing := range list.Missing {
				have[missing] = nil
			}
			if len(have) >= list.Total || len(have) == before {
				return nil
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list consumers of stream %s: %w", name, err)
	}
	return have, nil
}

// updatedStream is the stream as it is with what the deployment asks for, and what that changes. What was set beside it,
// as a placement, stays.
func updatedStream(have, want jetstream.StreamConfig) (jetstream.StreamConfig, []string) {
	var c changed
	if before, after := republished(have), republished(want); before != after {
		c.say("republished", before, after)
		have.RePublish = want.RePublish
	}
	if !slices.Equal(have.Subjects, want.Subjects) {
		c.say("subjects", have.Subjects, want.Subjects)
		have.Subjects = want.Subjects
	}
	set(&c, "storage", &have.Storage, want.Storage)
	set(&c, "retention", &have.Retention, want.Retention)
	set(&c, "discard", &have.Discard, want.Discard)
	set(&c, "replicas", &have.Replicas, want.Replicas)
	set(&c, "max_bytes", &have.MaxBytes, want.MaxBytes)
	set(&c, "max_age", &have.MaxAge, want.MaxAge)
	set(&c, "max_msgs", &have.MaxMsgs, unlimited(want.MaxMsgs))
	set(&c, "max_msg_size", &have.MaxMsgSize, want.MaxMsgSize)
	set(&c, "max_msgs_per_subject", &have.MaxMsgsPerSubject, unlimited(want.MaxMsgsPerSubject))
	set(&c, "duplicate_window", &have.Duplicates, want.Duplicates)
	set(&c, "allow_direct", &have.AllowDirect, want.AllowDirect)
	set(&c, "allow_rollup", &have.AllowRollup, want.AllowRollup)
	set(&c, "deny_delete", &have.DenyDelete, want.DenyDelete)
	if want.AllowMsgTTL { // it can't be taken back
		set(&c, "allow_msg_ttl", &have.AllowMsgTTL, true)
	}
	if want.ConsumerLimits.InactiveThreshold > 0 {
		set(&c, "consumer_limits.inactive_threshold", &have.ConsumerLimits.InactiveThreshold, want.ConsumerLimits.InactiveThreshold)
	}
	return have, c
}

func updatedConsumer(have, want jetstream.ConsumerConfig) (jetstream.ConsumerConfig, []string) {
	var c changed
	set(&c, "filter", &have.FilterSubject, want.FilterSubject)
	set(&c, "ack_policy", &have.AckPolicy, want.AckPolicy)
	set(&c, "ack_wait", &have.AckWait, want.AckWait)
	set(&c, "max_deliver", &have.MaxDeliver, want.MaxDeliver)
	set(&c, "max_ack_pending", &have.MaxAckPending, want.MaxAckPending)
	return have, c
}

// changed are the settings that differ: "replicas 1 → 3".
type changed []string

func (c *changed) say(setting string, before, after any) {
	*c = append(*c, fmt.Sprintf("%s %v → %v", setting, before, after))
}

func set[V comparable](c *changed, setting string, have *V, want V) {
	if *have != want {
		c.say(setting, *have, want)
		*have = want
	}
}

func republished(config jetstream.StreamConfig) string {
	if config.RePublish == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s as %s", config.RePublish.Source, config.RePublish.Destination)
}

// unlimited is how the server says 0.
func unlimited(most int64) int64 {
	if most == 0 {
		return -1
	}
	return most
}
