// Package natsserver embeds a NATS server with JetStream: for the standalone program and for tests.
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// ErrInUse is returned when another server holds the data folder: NATS itself would let two of them ruin it.
var ErrInUse = errors.New("data folder is in use")

// ErrOpen is returned when a server would let in whoever reaches it from another machine.
var ErrOpen = errors.New("a server that others reach must ask who they are")

// ErrConfig is returned when a file does not say who the users of a server are.
var ErrConfig = errors.New("no users of a nats server")

const readyTimeout = 15 * time.Second

// Server is a running embedded server.
type Server struct {
	server *server.Server
	lock   *os.File                                  // kept reachable: a collected file closes its descriptor and drops the lock
	login  func() (user, password string, err error) // of this process; nil: nobody is asked

	stopFollowing context.CancelFunc
	following     sync.WaitGroup
}

// Listen is where a server may be reached from outside of its process: an address, or "" for nowhere.
type Listen string

// Loopback says whether nobody from another machine reaches it; an address that is none is nobody's.
func (l Listen) Loopback() bool {
	host, _, err := net.SplitHostPort(string(l))
	return err != nil || host == "localhost" || net.ParseIP(host).IsLoopback()
}

// apply returns an error when the address is none.
func (l Listen) apply(o *server.Options) error {
	if l == "" {
		o.DontListen = true
		return nil
	}
	host, port, err := net.SplitHostPort(string(l))
	if err != nil {
		return fmt.Errorf("listen on %q: %w", string(l), err)
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 0 || number > 65535 {
		return fmt.Errorf("listen on %q: port %q is none", string(l), port)
	}
	o.Host, o.Port = host, number
	if number == 0 {
		o.Port = server.RANDOM_PORT
	}
	return nil
}

// Start runs a server that stores below dir. It is reached in this process, and at an address too unless listen is empty: there by
// everybody, or, with a configuration file of nats-server, by its users alone, each to what it may do, by its TLS if there is some; its
// users and its TLS are read again when the files change.
// [ErrInUse] is returned when dir belongs to a running server, [ErrOpen] when the address is for more than this machine and config is
// empty, [ErrConfig] when the file is none, or has no users.
func Start(dir string, listen Listen, config string, log *slog.Logger) (*Server, error) {
	if !listen.Loopback() && config == "" {
		return nil, fmt.Errorf("%w: %s", ErrOpen, listen)
	}
	if err := listen.apply(new(server.Options)); err != nil {
		return nil, err
	}
	own, err := newUsers(config)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s (another spatialflow runs there)", ErrInUse, dir)
		}
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	options := func(u users) *server.Options {
		o := &server.Options{
			ServerName: "spatialflow",
			JetStream:  true, StoreDir: filepath.Join(dir, "nats"),
			JetStreamMaxMemory: flow.DefaultLimits().LiveBytes(flow.MaxGroups), JetStreamMaxStore: 20 << 30,
			MaxPayload: bus.MaxPayload, PingInterval: 15 * time.Second, WriteDeadline: 5 * time.Second,
			NoSigs: true, NoLog: true, DisableJetStreamBanner: true,
		}
		u.apply(o)
		_ = listen.apply(o) // tried before
		return o
	}
	s, err := server.NewServer(options(own))
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("configure nats server: %w", err)
	}
	fatal := make(chan string, 1)
	s.SetLoggerV2(logger{log, fatal}, false, false, false)
	started := make(chan struct{})
	go func() { s.Start(); close(started) }() // returns once the server is up, or has failed; Stop waits for the server itself
	if err := ready(s, started, fatal); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		lock.Close()
		return nil, fmt.Errorf("start nats server in %s: %w", dir, err)
	}
	follow, stop := context.WithCancel(context.Background())
	embedded := &Server{server: s, lock: lock, login: own.credentials(), stopFollowing: stop}
	if config != "" {
		embedded.following.Go(func() { embedded.follow(follow, own, options, log) })
	}
	return embedded, nil
}

// ready waits for the server and its JetStream.
func ready(s *server.Server, started <-chan struct{}, fatal <-chan string) error {
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-started:
	case reason := <-fatal:
		return errors.New(reason)
	case <-timeout.C:
		return fmt.Errorf("not ready after %v", readyTimeout)
	}
	select {
	case reason := <-fatal: // Start has returned because of it
		return errors.New(reason)
	default:
	}
	if !s.ReadyForConnections(time.Second) || !s.JetStreamEnabled() {
		return errors.New("it came up without JetStream")
	}
	return nil
}

// URL is where the server is reached from outside; empty when nowhere.
func (s *Server) URL() string {
	if s.server.Addr() == nil {
		return ""
	}
	return "nats://" + s.server.Addr().String()
}

// Connect opens a connection to the server within this process.
func (s *Server) Connect(role string, log *slog.Logger) (*bus.Bus, error) {
	return bus.Connect(bus.Options{InProcess: s.server, Login: s.login, Role: role, Log: log})
}

// Stop shuts the server down and waits for it.
func (s *Server) Stop() {
	s.stopFollowing()
	s.following.Wait()
	s.server.Shutdown()
	s.server.WaitForShutdown()
	s.lock.Close()
}

// logger gives the server's warnings and errors to slog, and what it can't live with to fatal too; its chatter
// is left out.
type logger struct {
	log   *slog.Logger
	fatal chan<- string
}

func (l logger) Noticef(string, ...any) {}
func (l logger) Debugf(string, ...any)  {}
func (l logger) Tracef(string, ...any)  {}
func (l logger) Warnf(format string, args ...any) {
	l.log.Warn("nats server: " + fmt.Sprintf(format, args...))
}
func (l logger) Errorf(format string, args ...any) {
	l.log.Error("nats server: " + fmt.Sprintf(format, args...))
}
func (l logger) Fatalf(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	l.log.Error("nats server: " + reason)
	select {
	case l.fatal <- reason:
	default: // the first reason is told
	}
}
