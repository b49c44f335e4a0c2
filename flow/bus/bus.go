// Package bus is NATS JetStream as Spatial-Flow uses it: the connection, the provisioning of streams and
// consumers, publishing, and taking.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
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

// Options of a connection.
type Options struct {
	URL         string                     // nats://host:4222, comma-separated; unused when InProcess is set
	InProcess   nats.InProcessConnProvider // an embedded server
	User        string                     // at the server, unless empty
	Password    func() (string, error)     // of User; asked for every connection, so that it may change
	Credentials string                     // file of NATS credentials, unless empty
	Prefix      string                     // of all names and subjects, for a deployment beside another in one account
	Role        string                     // names the connection and its inbox: producer, a group, fuser, gateway
	Log         *slog.Logger
}

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

// Connect opens the connection. It reconnects for ever; while it is away a publish fails at once instead of
// being kept and sent late.
func Connect(o Options) (*Bus, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := flow.ValidPrefix(o.Prefix); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	told, b := new(repeats), &Bus{
		log: log, prefix: o.Prefix,
		streams: map[string]jetstream.Stream{}, kv: map[string]jetstream.KeyValue{},
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
	options := []nats.Option{
		nats.Name("spatialflow-" + o.Role),
		nats.CustomInboxPrefix("_INBOX_" + o.Role),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a password that changes is at the server a little before or after it is here
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			if told.again(fmt.Sprint(err, subject)) {
				log.Warn("nats", "error", err, "subject", subject)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			now := time.Now()
			b.left.CompareAndSwap(nil, &now)
			if err != nil && told.again("disconnected: "+err.Error()) {
				log.Warn("nats disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.left.Store(nil)
			log.Info("nats connected again")
		}),
	}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	}
	if o.User != "" {
		login, err := o.login(log)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		options = append(options, login)
	}
	if o.Credentials != "" {
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	conn, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats %s: %w", redact(o.URL), refusedConnection(err))
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	b.conn, b.js = conn, js
	return b, nil
}

// login gives the user and the password, as it is then, to every connection. One that can't be read is an error at first;
// later the one before it counts, and the server judges.
func (o Options) login(log *slog.Logger) (nats.Option, error) {
	password, err := o.Password()
	if err != nil {
		return nil, err
	}
	return nats.UserInfoHandler(func() (string, string) {
		newest, err := o.Password()
		if err != nil {
			log.Warn("password not read", "error", err)
			newest = password
		}
		password = newest
		return o.User, password
	}), nil
}

// refusedConnection marks what trying again does not change.
func refusedConnection(err error) error {
	var parse *url.Error
	for _, reason := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrNkeysNotSupported, nats.ErrInvalidConnection, os.ErrNotExist} {
		if errors.Is(err, reason) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if errors.As(err, &parse) {
		return fmt.Errorf("%w: it is no URL", ErrRefused) // the error itself would tell the password
	}
	return err
}

// redact hides users and passwords in a list of URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, one := range list {
		if scheme, rest, found := strings.Cut(one, "://"); found {
			list[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
		} else {
			list[i] = one[strings.LastIndexByte(one, '@')+1:]
		}
	}
	return strings.Join(list, ",")
}

const (
	reconnectLeast = 100 * time.Millisecond
	reconnectMost  = 2 * time.Second
	repeatAfter    = time.Minute // before the same error is told again
	repeatsKept    = 64          // errors that are told apart
)

// reconnectDelay is the wait after so many tries of all servers: short at first, for a server that only restarts; with
// jitter, for all services lose it together.
func reconnectDelay(attempts int) time.Duration {
	wait := min(reconnectLeast<<min(max(attempts-1, 0), 8), reconnectMost)
	return wait/2 + rand.N(wait/2)
}

// repeats keeps what is said again and again, as at each try with a password that is refused, out of the log.
type repeats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// again says whether text is to be told: it was not for a minute.
func (r *repeats) again(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.last[text]) < repeatAfter {
		return false
	}
	if r.last == nil || len(r.last) >= repeatsKept {
		r.last = map[string]time.Time{}
	}
	r.last[text] = now
	return true
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

// OwnStream is a stream's name without the deployment's prefix; ok is false when it is somebody else's.
func (b *Bus) OwnStream(name string) (plain string, ok bool) {
	plain = name
	if b.prefix != "" {
		plain = strings.Replace(name, b.prefix+"_", "", 1)
	}
	if b.name(plain) != name {
		return "", false
	}
	bucket, isBucket := strings.CutPrefix(plain, "KV_")
	kind, _, _ := strings.Cut(plain, "_")
	return plain, isBucket && slices.Contains([]string{DeploymentBucket, PositionsBucket, OwnersBucket, AttemptsBucket, SourcesBucket}, bucket) ||
		slices.Contains([]string{"FRAMES", "RESULTS", "SCENES"}, kind)
}

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
