package bus

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Options of a connection.
type Options struct {
	URL       string                     // nats://host:4222, comma-separated; unused when InProcess is set
	InProcess nats.InProcessConnProvider // an embedded server

	// Who it is at the server: at most one of these, which are asked anew for every connection, so that it may change.
	Login       func() (user, password string, err error)
	Seed        func() (seed []byte, err error) // of an nkey
	Credentials string                          // file of NATS credentials (JWT and seed)

	CA        string // file of the authorities that may have signed the server's certificate, unless empty: then it must be TLS
	Cert, Key string // files of the client's own certificate, unless empty; these three are read for every connection too

	Prefix string // of all names and subjects, for a deployment beside another in one account
	Role   string // names the connection and its inbox: producer, a group, fuser, gateway
	Log    *slog.Logger
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
	b := &Bus{
		log: log, prefix: o.Prefix,
		streams: map[string]jetstream.Stream{}, kv: map[string]jetstream.KeyValue{},
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
	options := append(b.options(o.Role, log), nats.CustomInboxPrefix(flow.Inbox(o.Prefix, o.Role)))
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess), nats.Timeout(inProcessWithin))
	}
	key, identity, err := o.identity(log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	options = append(options, identity...)
	conn, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats %s: %w", redact(o.URL), refusedConnection(err))
	}
	if key != nil {
		key.conn.Store(conn)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	b.conn, b.js = conn, js
	return b, nil
}

// options are those of every connection.
func (b *Bus) options(role string, log *slog.Logger) []nats.Option {
	told := new(repeats)
	return []nats.Option{
		nats.Name("spatialflow-" + role),
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
}

// identity is how the connection says who it is, and knows the server. What can't be read is an error at first; later what was
// read before counts, and the server judges.
func (o Options) identity(log *slog.Logger) (key *nkey, options []nats.Option, err error) {
	switch {
	case o.Login != nil:
		user, password, err := o.Login()
		if err != nil {
			return nil, nil, err
		}
		options = append(options, nats.UserInfoHandler(func() (string, string) {
			u, p, err := o.Login()
			if err != nil {
				log.Warn("password not read", "error", err)
				return user, password
			}
			user, password = u, p
			return user, password
		}))
	case o.Seed != nil:
		key = &nkey{seed: o.Seed, log: log}
		if err := key.read(); err != nil {
			return nil, nil, err
		}
		options = append(options, nats.Nkey(key.public, key.sign), nats.SetCustomDialer(key))
	case o.Credentials != "":
		options = append(options, nats.UserCredentials(o.Credentials))
	}
	if o.CA != "" {
		options = append(options, nats.RootCAs(o.CA))
	}
	if o.Cert != "" {
		options = append(options, nats.ClientCert(o.Cert, o.Key))
	}
	return key, options, nil
}

// nkey is a key that may be another one for the next connection. nats.go keeps the public half for good: so this is its dialer too,
// which is called, while the connection is locked, before that half is sent.
type nkey struct {
	seed   func() ([]byte, error)
	log    *slog.Logger
	conn   atomic.Pointer[nats.Conn] // once there is one
	pair   nkeys.KeyPair
	public string
}

// read takes the seed as it is now.
func (k *nkey) read() error {
	seed, err := k.seed()
	if err != nil {
		return err
	}
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	if err != nil {
		return errors.New("the nkey is no seed of a user (SU…)") // the error itself might tell it
	}
	public, err := pair.PublicKey()
	if err != nil {
		return fmt.Errorf("read the nkey: %w", err)
	}
	k.pair, k.public = pair, public
	return nil
}

func (k *nkey) sign(nonce []byte) ([]byte, error) { return k.pair.Sign(nonce) }

// Dial takes the key of the connection that it opens.
func (k *nkey) Dial(network, address string) (net.Conn, error) {
	if conn := k.conn.Load(); conn != nil {
		if err := k.read(); err != nil {
			k.log.Warn("nkey not read", "error", err)
		}
		conn.Opts.Nkey = k.public
	}
	return net.DialTimeout(network, address, dialWithin)
}

const dialWithin = 2 * time.Second

// inProcessWithin is how long a server in this process is waited for: a machine that has much else to do may take its time.
const inProcessWithin = time.Minute

// refusedConnection marks what trying again does not change.
func refusedConnection(err error) error {
	var parse *url.Error
	var certificate *tls.CertificateVerificationError
	for _, reason := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrNkeysNotSupported, nats.ErrSecureConnWanted, nats.ErrInvalidConnection, os.ErrNotExist} {
		if errors.Is(err, reason) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if errors.As(err, &certificate) {
		return fmt.Errorf("%w: the server's certificate: %w", ErrRefused, certificate.Err)
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
