package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// PositionsBucket is the KV bucket of the sessions' positions. A record that is not written for [flow.Limits].PositionsKeep goes.
const PositionsBucket = "spatialflow"

// OpenPosition makes the record of a session whose frames are to be in partition, or finds the one that is there, with its own
// partition. The position is that of [Bus.Position].
func (b *Bus) OpenPosition(ctx context.Context, source, session string, partition int) (flow.Position, error) {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return flow.Position{}, err
	}
	begin := flow.Position{Partition: partition}
	_, err = kv.Create(ctx, flow.PositionKey(source, session), begin.Encode())
	if err == nil {
		return begin, nil
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return flow.Position{}, fmt.Errorf("make position of %s/%s: %w", source, session, err)
	}
	position, _, err := b.Position(ctx, source, session)
	return position, err
}

// Position is how far a session has come: what its record says, or, if that is further, what is in SCENES. last is its newest
// scene when that is still kept, else nil. [ErrNotFound] is returned when there is neither.
func (b *Bus) Position(ctx context.Context, source, session string) (position flow.Position, last *flow.Scene, err error) {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return position, nil, err
	}
	entry, err := kv.Get(ctx, flow.PositionKey(source, session))
	recorded := err == nil
	switch {
	case recorded:
		if position, err = flow.ParsePosition(source, entry.Value()); err != nil {
			return position, nil, fmt.Errorf("position of %s/%s: %w", source, session, err)
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return position, nil, fmt.Errorf("read position of %s/%s: %w", source, session, err)
	}
	last, err = b.LastScene(ctx, source, session)
	switch {
	case err == nil:
		if !recorded {
			position.Partition = last.Place()
		}
		position.Seq = max(position.Seq, last.Seq)
	case !errors.Is(err, ErrNotFound):
		return position, nil, err
	case !recorded:
		return position, nil, fmt.Errorf("position of %s/%s: %w", source, session, ErrNotFound)
	}
	return position, last, nil
}

// SetPosition writes a session's position, unless the record is further already: who was stopped for a while does not set back
// what another wrote meanwhile.
func (b *Bus) SetPosition(ctx context.Context, source, session string, position flow.Position) error {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return err
	}
	key := flow.PositionKey(source, session)
	for at, known := b.written.of(key, position.Seq); ; known = false {
		if !known {
			if at, err = recordedAt(ctx, kv, source, session); err == nil && at.seq > position.Seq {
				return nil
			}
		}
		if err == nil {
			if at.revision == 0 {
				at.revision, err = kv.Create(ctx, key, position.Encode())
			} else {
				at.revision, err = kv.Update(ctx, key, position.Encode(), at.revision)
			}
		}
		if err == nil {
			b.written.set(key, recordAt{at.revision, position.Seq})
			return nil
		}
		var api *jetstream.APIError
		moved := errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) && api.ErrorCode == codeWrongLastSequence
		if !moved || !known && !clock.Sleep(ctx, callWait) { // a replica that is behind may have told of the record
			return fmt.Errorf("write position of %s/%s: %w", source, session, err)
		}
	}
}

// recordAt is the revision of a session's record and the seq that it says. Revision 0 is no record.
type recordAt struct{ revision, seq uint64 }

func recordedAt(ctx context.Context, kv jetstream.KeyValue, source, session string) (recordAt, error) {
	entry, err := kv.Get(ctx, flow.PositionKey(source, session))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return recordAt{}, nil
	}
	if err != nil {
		return recordAt{}, err
	}
	position, err := flow.ParsePosition(source, entry.Value())
	return recordAt{entry.Revision(), position.Seq}, err
}

const maxWritten = 16 << 10 // records whose revision is known; of more, the record is read before it is written

// written are the records that this connection wrote last. It is safe for concurrent use.
type written struct {
	mu  sync.Mutex
	all map[string]recordAt
}

// of is the record under a key, known when seq may be written in its place.
func (w *written) of(key string, seq uint64) (at recordAt, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, known = w.all[key]
	return at, known && at.seq <= seq
}

func (w *written) set(key string, at recordAt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil || len(w.all) >= maxWritten {
		w.all = map[string]recordAt{}
	}
	w.all[key] = at
}

// KeepPosition writes a session's record as it is, so that it does not go for its age while the session is carried. What another
// writes meanwhile counts. [ErrNotFound] is returned when there is no record.
func (b *Bus) KeepPosition(ctx context.Context, source, session string) error {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return err
	}
	key := flow.PositionKey(source, session)
	entry, err := kv.Get(ctx, key)
	if err == nil {
		_, err = kv.Update(ctx, key, entry.Value(), entry.Revision())
	}
	switch {
	case err == nil, errors.Is(err, jetstream.ErrKeyExists): // another wrote it just now
		return nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return fmt.Errorf("position of %s/%s: %w", source, session, ErrNotFound)
	}
	return fmt.Errorf("keep position of %s/%s: %w", source, session, err)
}

// End is that of a session or a list, as [Bus.SetEnded] noted it.
type End struct {
	Seq      uint64 `json:"seq"` // of the last frame
	Revision uint64 `json:"-"`   // grows with each time that it is noted
}

// Ended is where a session ended, every frame with its scene. It may have been carried on since. [ErrNotFound] is returned when
// that was not noted.
func (b *Bus) Ended(ctx context.Context, source, session string) (End, error) {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return End{}, err
	}
	entry, err := kv.Get(ctx, flow.EndedKey(source, session))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return End{}, fmt.Errorf("end of %s/%s: %w", source, session, ErrNotFound)
	}
	if err != nil {
		return End{}, fmt.Errorf("read the end of %s/%s: %w", source, session, err)
	}
	end := End{Revision: entry.Revision()}
	if err := json.Unmarshal(entry.Value(), &end); err != nil {
		return End{}, fmt.Errorf("read the end of %s/%s: %w: %w", source, session, flow.ErrMessage, err)
	}
	return end, nil
}

// SetEnded notes that a session ended with the frame seq: each up to it has its scene.
func (b *Bus) SetEnded(ctx context.Context, source, session string, seq uint64) error {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return err
	}
	value, err := json.Marshal(End{Seq: seq})
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, flow.EndedKey(source, session), value); err != nil {
		return fmt.Errorf("note the end of %s/%s: %w", source, session, err)
	}
	return nil
}

// Forget deletes the record of a session, which can't be carried on any more, and what waits of its lossless frames and results:
// nobody need understand those. Nobody may carry the session meanwhile.
func (b *Bus) Forget(ctx context.Context, source, session string) error {
	if err := b.deleteWaiting(ctx, source, session); err != nil {
		return fmt.Errorf("forget %s/%s: %w", source, session, err)
	}
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return err
	}
	for _, key := range []string{flow.PositionKey(source, session), flow.EndedKey(source, session), flow.FilmKey(source, session)} {
		if err := kv.Purge(ctx, key); err != nil {
			return fmt.Errorf("forget %s/%s: %w", source, session, err)
		}
	}
	return nil
}

// RunRecord is what is kept of a session.
type RunRecord struct {
	Source, Session string
	Position        flow.Position
	Age             time.Duration // since it was last written
	Ended           bool          // every frame has its scene, and it was not carried on since that was noted
}

// RunRecords lists what is kept of the sessions of a source, or, when it is empty, of all, by source and session. A record that
// can't be read is left out.
func (b *Bus) RunRecords(ctx context.Context, source string) ([]RunRecord, error) {
	source = cmp.Or(source, "*")
	positions, err := b.values(ctx, PositionsBucket, flow.PositionKey(source, "*"))
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	ends, err := b.values(ctx, PositionsBucket, flow.EndedKey(source, "*"))
	if err != nil {
		return nil, fmt.Errorf("list the ends of runs: %w", err)
	}
	var records []RunRecord
	for key, entry := range positions {
		name, session, ok := flow.ParsePositionKey(key)
		if position, err := flow.ParsePosition(name, entry.data); ok && err == nil {
			records = append(records, RunRecord{Source: name, Session: session, Position: position, Age: time.Since(entry.at)})
		}
	}
	for i, r := range records {
		var end End
		noted := json.Unmarshal(ends[flow.EndedKey(r.Source, r.Session)].data, &end) == nil
		records[i].Ended = noted && end.Seq >= r.Position.Seq
	}
	slices.SortFunc(records, func(a, b RunRecord) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Session, b.Session))
	})
	return records, nil
}

// Sessions lists the sessions of a source that have a position.
func (b *Bus) Sessions(ctx context.Context, source string) (sessions []string, err error) {
	positions, err := b.values(ctx, PositionsBucket, flow.PositionKey(source, "*"))
	if err != nil {
		return nil, fmt.Errorf("list positions of %s: %w", source, err)
	}
	for key := range positions {
		if _, session, ok := flow.ParsePositionKey(key); ok {
			sessions = append(sessions, session)
		}
	}
	return sessions, nil
}

// NewestRuns lists, newest first, the sources that have a position, each with the session whose position was written last, of
// those that were written at most so long before the newest of all.
func (b *Bus) NewestRuns(ctx context.Context, within time.Duration) ([]RunRecord, error) {
	runs, err := b.RunRecords(ctx, "")
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	slices.SortStableFunc(runs, func(a, b RunRecord) int { return cmp.Compare(a.Age, b.Age) })
	oldest, seen := runs[0].Age+within, map[string]bool{}
	return slices.DeleteFunc(runs, func(r RunRecord) bool {
		known := seen[r.Source]
		seen[r.Source] = true
		return known || r.Age > oldest
	}), nil
}

// values are those of a bucket's keys that a filter selects, as they are now. It is no watch of nats.go, which asks for more than to
// read those keys: it makes consumers of several filters, and deletes them.
func (b *Bus) values(ctx context.Context, bucket, filter string) (map[string]value, error) {
	prefix := b.Subject("$KV." + bucket + ".")
	consumer, err := b.js.CreateConsumer(ctx, b.name(bucketStream(bucket)), jetstream.ConsumerConfig{
		FilterSubject: prefix + filter, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: listKept, MemoryStorage: true, Replicas: 1,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: KV bucket %s", ErrNotProvisioned, bucket)
	}
	if err != nil {
		return nil, err
	}
	values := map[string]value{}
	for left := consumer.CachedInfo().NumPending; left > 0; {
		before := left
		batch, err := consumer.Fetch(int(min(left, listBatch)), jetstream.FetchMaxWait(listWait))
		if err != nil {
			return nil, err
		}
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return nil, err
			}
			left = min(left-1, meta.NumPending) // a key that is written meanwhile comes again, behind all others
			if msg.Headers().Get(kvOperation) == "" {
				values[strings.TrimPrefix(msg.Subject(), prefix)] = value{msg.Data(), meta.Timestamp}
			}
		}
		switch err := batch.Error(); {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case left == before:
			return nil, errors.New("the list ended early")
		}
	}
	return values, nil
}

// value is what a key had at a time.
type value struct {
	data []byte
	at   time.Time
}

const (
	listKept  = 10 * time.Second // how long the server keeps a list that nobody reads on
	listWait  = time.Second      // for what is there already
	listBatch = 512              // keys in one request
)

// Film is what was noted, with [Bus.SetFilm], of the film of a session. [ErrNotFound] is returned when nothing was.
func (b *Bus) Film(ctx context.Context, source, session string) (mark string, err error) {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return "", err
	}
	entry, err := kv.Get(ctx, flow.FilmKey(source, session))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("film of %s/%s: %w", source, session, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("read the film of %s/%s: %w", source, session, err)
	}
	return string(entry.Value()), nil
}

// SetFilm notes what the film of a session is known by.
func (b *Bus) SetFilm(ctx context.Context, source, session, mark string) error {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return err
	}
	if _, err := kv.PutString(ctx, flow.FilmKey(source, session), mark); err != nil {
		return fmt.Errorf("note the film of %s/%s: %w", source, session, err)
	}
	return nil
}
