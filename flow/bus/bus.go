// Package bus is NATS JetStream as Spatial-Flow uses it: the connection, the provisioning of streams and
// consumers, publishing, and taking.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

var (
	// ErrFull is returned when a stream refused a message because its guard is reached: somebody must take from it first.
	ErrFull = errors.New("stream is full")
	// ErrTooLarge is returned when a message exceeds what a stream or the server takes.
	ErrTooLarge = errors.New("message too large")
	// ErrStored is returned when the frame already has its scene.
	ErrStored = errors.New("stored already")
	// ErrNotFound is returned when there is no such scene or entry.
	ErrNotFound = errors.New("not found")
	// ErrNotProvisioned is returned when the streams or the deployment object are not there yet, or nobody serves them.
	ErrNotProvisioned = errors.New("not provisioned")
	// ErrRefused is returned when the server does not let this client in, or the settings are no connection: trying
	// again changes nothing.
	ErrRefused = errors.New("refused")
	// ErrServer is returned when a setting of the server is in the way: the error names it.
	ErrServer = errors.New("nats server")
)

// Bus is one service's connection. Its methods may be called from many goroutines.
type Bus struct {
	conn *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger

	prefix string

	mu      sync.Mutex
	streams map[string]jetstream.Stream
	kv      map[string]jetstream.KeyValue

	written written // positions

	left atomic.Pointer[time.Time] // when the connection was lost; nil while it is there

	buffers sync.Pool // *[]byte: encoded messages, free again once their PubAck is there
}

// Reconnects is how many times the connection was made anew, to whatever server.
func (b *Bus) Reconnects() uint64 { return b.conn.Stats().Reconnects }

// Away is for how long there has been no connection; 0 while there is one.
func (b *Bus) Away() time.Duration {
	if left := b.left.Load(); left != nil {
		return time.Since(*left)
	}
	return 0
}

// Conn is the connection itself. Subjects that are used on it are those of [Bus.Subject].
func (b *Bus) Conn() *nats.Conn { return b.conn }

// JetStream is the connection's JetStream.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Close sends what is buffered and closes the connection.
func (b *Bus) Close() {
	if b.conn.IsConnected() {
		_ = b.conn.FlushTimeout(2 * time.Second) // best effort: the connection closes either way
	}
	b.conn.Close()
}

func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.streams[name]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := b.js.Stream(ctx, b.name(name))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: stream %s", ErrNotProvisioned, name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[name] = s
	return s, nil
}

// Bucket is a KV bucket, by its name without the deployment's prefix. [ErrNotProvisioned] is returned when there is none.
func (b *Bus) Bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	return b.bucket(ctx, name)
}

func (b *Bus) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	b.mu.Lock()
	kv := b.kv[name]
	b.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := b.js.KeyValue(ctx, strings.TrimPrefix(b.name(bucketStream(name)), "KV_"))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, fmt.Errorf("%w: KV bucket %s", ErrNotProvisioned, name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up KV bucket %s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kv[name] = kv
	return kv, nil
}

// Subject is a subject of package flow with the deployment's prefix.
func (b *Bus) Subject(plain string) string { return flow.Prefixed(b.prefix, plain) }

// Plain is a subject without the deployment's prefix, as package flow takes it apart.
func (b *Bus) Plain(subject string) string {
	if b.prefix == "" {
		return subject
	}
	return strings.TrimPrefix(subject, b.prefix+".")
}

// name is a stream's name with the deployment's prefix.
func (b *Bus) name(stream string) string { return flow.PrefixedStream(b.prefix, stream) }

// Subscribe calls handle, one message after the other, for what comes on a subject of package flow, and is given it without
// the deployment's prefix.
func (b *Bus) Subscribe(subject string, handle func(*nats.Msg)) (*nats.Subscription, error) {
	sub, err := b.conn.Subscribe(b.Subject(subject), func(msg *nats.Msg) {
		msg.Subject = b.Plain(msg.Subject)
		handle(msg)
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return sub, nil
}

func wrapped(kind, err error) error { return fmt.Errorf("%w: %w", kind, err) }
