package natstest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

const (
	host = "127.0.0.1"
	// patience is how long anything is waited for: an election takes 4-9 s, and a machine can be busy.
	patience = 2 * time.Minute
	poll     = 20 * time.Millisecond
)

// Options of a cluster.
type Options struct {
	Servers    int   // 1 is a server without a cluster; more are a cluster, in which a majority must run
	MaxPayload int32 // bytes; 0 is what the services expect, [bus.MaxPayload]
}

// Cluster is one server, or several that form a cluster.
type Cluster struct {
	Servers []*Server
}

// Start starts the servers and waits until all of them serve. They end with the test.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.MaxPayload == 0 {
		o.MaxPayload = bus.MaxPayload
	}
	c := new(Cluster)
	ports := make([]int, 3*o.Servers)
	for i := range ports {
		ports[i] = porttest.Port(t)
	}
	for i := range o.Servers {
		s := settings{
			Name: fmt.Sprint("server", i+1), Folder: filepath.Join(t.TempDir(), "store"), MaxPayload: o.MaxPayload,
			Client: ports[3*i], Route: ports[3*i+1], Monitor: ports[3*i+2],
		}
		for other := range o.Servers {
			if other != i {
				s.Routes = append(s.Routes, ports[3*other+1])
			}
		}
		c.Servers = append(c.Servers, &Server{settings: s})
	}
	for _, s := range c.Servers {
		s.Start(t)
		t.Cleanup(func() { s.end(t) })
	}
	c.Wait(t)
	return c
}

// URL names all servers, as the services take it.
func (c *Cluster) URL() string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.URL())
	}
	return strings.Join(all, ",")
}

// Connect opens a connection to any of the servers, which goes on at another when that one is gone. It is closed with
// the test.
func (c *Cluster) Connect(t testing.TB, role string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Options{URL: c.URL(), Role: role, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("connect to the servers: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

// Wait waits until those servers that run serve: each has all of its streams and consumers as they are now, and in a
// cluster they agree on a leader, which sees each of them.
func (c *Cluster) Wait(t testing.TB) {
	t.Helper()
	eventually(t, "the servers serve", func() error {
		for _, s := range c.Servers {
			if s.Running() {
				if err := s.healthy(); err != nil {
					return err
				}
			}
		}
		if len(c.Servers) == 1 {
			return nil
		}
		leader, err := c.meta()
		if err != nil {
			return err
		}
		return c.sees(leader)
	})
}

// meta is the leader of the cluster itself, on which all servers that run agree.
func (c *Cluster) meta() (*Server, error) {
	var leader string
	for _, s := range c.Servers {
		if !s.Running() {
			continue
		}
		named, err := s.meta()
		if err != nil {
			return nil, err
		}
		if named.Leader == "" || (leader != "" && named.Leader != leader) {
			return nil, fmt.Errorf("%s names %q as the leader, another %q", s.Name(), named.Leader, leader)
		}
		leader = named.Leader
	}
	return c.running(leader)
}

// sees asks the cluster's leader whether each server that runs is there and current.
func (c *Cluster) sees(leader *Server) error {
	meta, err := leader.meta()
	if err != nil {
		return err
	}
	current := map[string]bool{leader.Name(): true}
	for _, peer := range meta.Replicas {
		current[peer.Name] = peer.Current && !peer.Offline
	}
	for _, s := range c.Servers {
		if s.Running() && !current[s.Name()] {
			return fmt.Errorf("the leader %s does not see %s", leader.Name(), s.Name())
		}
	}
	return nil
}

// Meta is the server that leads the cluster itself: it places streams and consumers.
func (c *Cluster) Meta(t testing.TB) (leader *Server) {
	t.Helper()
	eventually(t, "the cluster has a leader", func() (err error) {
		leader, err = c.meta()
		return err
	})
	return leader
}

// Leader is the server that leads a stream. An election is waited for; a server that was killed is none.
func (c *Cluster) Leader(t testing.TB, stream string) (leader *Server) {
	t.Helper()
	c.ask(t, "a leader of "+stream, func(ctx context.Context, js jetstream.JetStream) error {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err != nil {
			return err
		}
		if info.Cluster == nil { // a server alone
			leader = c.Servers[0]
			return nil
		}
		leader, err = c.running(info.Cluster.Leader)
		return err
	})
	return leader
}

// StepDown makes the leader of a stream give up its office, and returns it. The next one may be it again if no other
// stands; [Cluster.Leader] waits for that one.
func (c *Cluster) StepDown(t testing.TB, stream string) *Server {
	t.Helper()
	before := c.Leader(t, stream)
	c.ask(t, "step down of "+stream, func(ctx context.Context, js jetstream.JetStream) error {
		msg, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		if err != nil {
			return err
		}
		var answer struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(msg.Data, &answer); err != nil {
			return err
		}
		if answer.Error != nil {
			return answer.Error
		}
		return nil
	})
	return before
}

// running is the server of a name.
func (c *Cluster) running(name string) (*Server, error) {
	for _, s := range c.Servers {
		if s.Name() == name && s.Running() {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the leader is %q, which does not run", name)
}

// ask repeats a question to JetStream until it has its answer.
func (c *Cluster) ask(t testing.TB, what string, question func(context.Context, jetstream.JetStream) error) {
	t.Helper()
	eventually(t, what, func() error {
		conn, err := nats.Connect(c.URL(), nats.NoReconnect())
		if err != nil {
			return err
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return question(ctx, js)
	})
}

// eventually waits for what servers do, and fails with the last reason why it was not so.
func eventually(t testing.TB, what string, ok func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(poll) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never: %s: %v", what, err)
		}
	}
}

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
