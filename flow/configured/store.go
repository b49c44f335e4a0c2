package configured

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// key is the only one of the bucket: that all of them are one value makes their number one decision, and leaves nothing behind of those
// that are deleted.
const key = "sources"

const (
	watchLeast = 50 * time.Millisecond // before the watch is begun again
	watchMost  = 2 * time.Second
	mostTries  = 32 // of a change that others overtake
)

// errConflict is returned when others changed the sources too, again and again.
var errConflict = errors.New("the configured sources change too fast")

// read is all sources by their names, and the revision of what they are read from; 0: there is none.
func read(ctx context.Context, kv jetstream.KeyValue) (map[string]Source, uint64, error) {
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the configured sources: %w", err)
	}
	sources, err := parseObject(entry.Value())
	return sources, entry.Revision(), err
}

// All are the sources that are configured, by their names. [bus.ErrNotProvisioned], [ErrMessage] or [ErrNewer] is returned when that is
// not known.
func All(ctx context.Context, b *bus.Bus) (map[string]Source, error) {
	kv, err := b.Bucket(ctx, bus.SourcesBucket)
	if err != nil {
		return nil, err
	}
	sources, _, err := read(ctx, kv)
	return sources, err
}

// Change has change look at the sources as they are and change them, and stores them unless it says that nothing is to be stored. Who
// changes them at the same time is read again. An error of change is returned as it is.
func Change(ctx context.Context, b *bus.Bus, change func(sources map[string]Source) (store bool, err error)) error {
	kv, err := b.Bucket(ctx, bus.SourcesBucket)
	if err != nil {
		return err
	}
	for range mostTries {
		sources, revision, err := read(ctx, kv)
		if err != nil {
			return err
		}
		if sources == nil {
			sources = map[string]Source{}
		}
		if store, err := change(sources); err != nil || !store {
			return err
		}
		data, err := encode(object{version, sources})
		if err != nil {
			return fmt.Errorf("encode the configured sources: %w", err)
		}
		if revision == 0 {
			_, err = kv.Create(ctx, key, data) // also after it was deleted
		} else {
			_, err = kv.Update(ctx, key, data, revision)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) { // nats.go says so of an update with another revision too
			return fmt.Errorf("store the configured sources: %w", err)
		}
	}
	return errConflict
}

// Put makes a source, or changes it: made is true when there was none of its name. What is the same is left alone. [ErrMost] is returned
// when there are [MostSources] others.
func Put(ctx context.Context, b *bus.Bus, name string, s Source, now time.Time) (made bool, err error) {
	err = Change(ctx, b, func(sources map[string]Source) (bool, error) {
		before, there := sources[name]
		if made = !there; there && before.same(s) {
			return false, nil
		}
		if made && len(sources) >= MostSources {
			return false, ErrMost
		}
		s.Changed = now.UTC().Truncate(time.Millisecond)
		sources[name] = s
		return true, nil
	})
	return made, err
}

var (
	// ErrMost is returned when no source more can be configured.
	ErrMost = fmt.Errorf("%d sources are configured, and no more can be: delete one", MostSources)
	// ErrNotFound is returned when no source of that name is configured.
	ErrNotFound = errors.New("no such source is configured")
)

// Delete ends what [Put] made. [ErrNotFound] is returned when there is none.
func Delete(ctx context.Context, b *bus.Bus, name string) error {
	return Change(ctx, b, func(sources map[string]Source) (bool, error) {
		if _, there := sources[name]; !there {
			return false, ErrNotFound
		}
		delete(sources, name)
		return true, nil
	})
}

// Watch hands on the sources by their names, now and whenever they change, until ctx ends. Those that this program can't read change
// nothing, and are logged, as is, once, that there is no bucket for them.
func Watch(ctx context.Context, b *bus.Bus, log *slog.Logger, take func(map[string]Source)) {
	told := false
	for wait := watchLeast; ctx.Err() == nil; wait = min(2*wait, watchMost) {
		err := b.WatchKey(ctx, bus.SourcesBucket, key, func(value []byte, revision uint64) {
			wait, told = watchLeast, false
			if value == nil {
				take(nil)
				return
			}
			sources, err := parseObject(value)
			if err != nil {
				log.Error("configured sources not taken", "revision", revision, "error", err)
				return
			}
			take(sources)
		})
		if !told && ctx.Err() == nil && wait > watchLeast {
			log.Warn("waiting for the configured sources", "error", err)
			told = true
		}
		clock.Sleep(ctx, clock.Jitter(wait))
	}
}

// Subject is where requests go to.
const Subject = "source.manage"

// Serve has requests answered, one after the other, until the subscription ends. Of those who serve in the same way, as way says, one
// is asked.
func Serve(b *bus.Bus, log *slog.Logger, way string, answer func(Request) Answer) (*nats.Subscription, error) {
	sub, err := b.Conn().QueueSubscribe(b.Subject(Subject), way, func(msg *nats.Msg) {
		if !bus.IsInbox(msg.Reply) {
			return
		}
		request, err := ParseRequest(msg.Data)
		said := Answer{Code: CodeBad}
		if err != nil {
			said.Error = err.Error()
		} else {
			said = answer(request)
		}
		said.Error = strings.ToValidUTF8(said.Error[:min(len(said.Error), maxError)], "")
		data, err := encode(said)
		if err == nil {
			err = msg.Respond(data)
		}
		if err != nil {
			log.Debug("request to configure a source not answered", "error", err) // who asks hears of it by waiting
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", Subject, err)
	}
	return sub, nil
}

// AskWithin is how long a request waits for its answer.
const AskWithin = 5 * time.Second

// Ask sends a request, and waits for those who serve, in so many ways: one that refuses does not speak for the others. The answer is of
// [CodeUnavailable] when nobody answers within [AskWithin].
func Ask(ctx context.Context, b *bus.Bus, r Request, ways int) Answer {
	r.Version = version
	data, err := encode(r)
	if err != nil {
		return Answer{CodeUnavailable, err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, AskWithin)
	defer cancel()
	inbox := b.Conn().NewInbox()
	sub, err := b.Conn().SubscribeSync(inbox)
	if err != nil {
		return Answer{CodeUnavailable, fmt.Sprintf("NATS is away: %v", err)}
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed, or it goes
	if err := b.Conn().PublishRequest(b.Subject(Subject), inbox, data); err != nil {
		return Answer{CodeUnavailable, fmt.Sprintf("NATS is away: %v", err)}
	}
	var refused *Answer
	for heard := 0; heard < max(1, ways); {
		msg, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return Answer{CodeUnavailable, "no producer lets sources be configured: start one with --allow-source"}
		case err != nil && refused != nil: // who has not spoken may allow it
			return Answer{CodeUnavailable, fmt.Sprintf("%s; not every producer has answered within %v, it may be done yet", refused.Error, AskWithin)}
		case err != nil:
			return Answer{CodeUnavailable, fmt.Sprintf("no producer has answered within %v; it may be done yet", AskWithin)}
		}
		a, err := ParseAnswer(msg.Data)
		if err != nil {
			continue // whoever that was
		}
		if heard++; a.Code != CodeNotAllowed && a.Code != CodeNotFound {
			return a
		}
		if refused == nil || a.Code == CodeNotAllowed {
			refused = &a
		}
	}
	return *refused
}
