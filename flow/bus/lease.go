package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// OwnersBucket is the KV bucket of the leases.
const OwnersBucket = "owners"

const (
	leaseTTL   = 3 * time.Second
	leaseRenew = 750 * time.Millisecond
	leaseSafe  = leaseTTL - leaseRenew // without a renewal for so long, another may have it soon
)

var (
	// ErrLeaseTaken is returned when somebody else holds the lease.
	ErrLeaseTaken = errors.New("lease is taken")
	// ErrLeaseLost is returned when the lease could not be renewed in time, or somebody else has it.
	ErrLeaseLost = errors.New("lease is lost")
)

// Lease says that its holder alone owns something, for 3 s after each renewal.
type Lease struct {
	kv       jetstream.KeyValue
	name     string
	holder   string
	revision uint64
	renewed  atomic.Pointer[time.Time] // with the monotonic clock, which goes on while the process is stopped
}

// Lease takes the lease called name. [ErrLeaseTaken] is returned when it has an owner, which was alive 3 s ago.
func (b *Bus) Lease(ctx context.Context, name, holder string) (*Lease, error) {
	kv, err := b.bucket(ctx, OwnersBucket)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	revision, err := kv.Create(ctx, name, []byte(holder))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return nil, ErrLeaseTaken
	}
	if err != nil {
		return nil, fmt.Errorf("take lease %s: %w", name, err)
	}
	l := &Lease{kv: kv, name: name, holder: holder, revision: revision}
	l.renewed.Store(&begin)
	return l, nil
}

// LeaseHolder names who holds the lease called name. [ErrNotFound] is returned when nobody does.
func (b *Bus) LeaseHolder(ctx context.Context, name string) (string, error) {
	kv, err := b.bucket(ctx, OwnersBucket)
	if err != nil {
		return "", err
	}
	entry, err := kv.Get(ctx, name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("lease %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("read lease %s: %w", name, err)
	}
	return string(entry.Value()), nil
}

// Held says whether nobody else can have the lease yet: it was renewed less than 2.25 s ago. Who was stopped and goes on asks
// before doing what only the holder may do.
func (l *Lease) Held() bool { return time.Since(*l.renewed.Load()) < leaseSafe }

// Keep renews the lease until ctx ends, and then returns nil; [ErrLeaseLost] is returned when that fails for too long, or
// somebody else has it.
func (l *Lease) Keep(ctx context.Context) error {
	for clock.Sleep(ctx, leaseRenew) {
		begin := time.Now()
		err := l.renew(ctx)
		switch {
		case err == nil:
			l.renewed.Store(&begin)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLeaseTaken), !l.Held():
			return fmt.Errorf("%w: %s: %w", ErrLeaseLost, l.name, err)
		}
	}
	return nil
}

// renew writes the entry once more. One that has another revision and this holder is of a renewal whose answer was lost.
func (l *Lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, l.renewed.Load().Add(leaseSafe))
	defer cancel()
	revision, err := l.kv.Update(ctx, l.name, []byte(l.holder), l.revision)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeWrongLastSequence {
		entry, e := l.kv.Get(ctx, l.name)
		switch {
		case errors.Is(e, jetstream.ErrKeyNotFound):
			return fmt.Errorf("%w: it ended", ErrLeaseTaken)
		case e != nil:
			return e
		case string(entry.Value()) != l.holder:
			return fmt.Errorf("%w: by %s", ErrLeaseTaken, entry.Value())
		}
		revision, err = l.kv.Update(ctx, l.name, []byte(l.holder), entry.Revision())
	}
	if err == nil {
		l.revision = revision
	}
	return err
}

// Release gives the lease up, so that another need not wait for its end.
func (l *Lease) Release(ctx context.Context) error {
	if err := l.kv.Delete(ctx, l.name, jetstream.LastRevision(l.revision)); err != nil {
		return fmt.Errorf("release lease %s: %w", l.name, err)
	}
	return nil
}
