// Package provision is the command that makes what the services need on a NATS server: streams, consumers and KV
// entries. It needs neither cgo nor the services.
package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// ErrUsage is returned when the flags make no deployment.
var ErrUsage = errors.New("usage")

// Command is the command line of provision.
type Command struct {
	service.Connection
	service.Logging
	Off        []string      `placeholder:"GROUP" help:"Groups, of detect and depth, that are left out: no frame waits for them."`
	GroupsFile string        `placeholder:"FILE" type:"existingfile" help:"JSON list of the worker groups instead, as in docs/protocol.md."`
	Replicas   int           `default:"1" help:"Copies of each stream: 1, or 3 in a cluster."`
	ScenesKeep time.Duration `default:"15m" help:"How long a lossless scene stays readable."`
	GuardBytes int64         `default:"2147483648" help:"Most bytes of each lossless stream."`
	Timeout    time.Duration `default:"1m" help:"How long to wait for NATS."`
}

// Validate returns [ErrUsage] or [flow.ErrGroups], naming the flag, when the settings make no deployment.
func (c *Command) Validate() error {
	if err := c.Connection.Validate(); err != nil {
		return err
	}
	if c.Replicas < 1 || c.Replicas > 5 || c.ScenesKeep < time.Second || c.GuardBytes < 1<<20 || c.Timeout <= 0 {
		return fmt.Errorf("%w: --replicas is 1 to 5, --scenes-keep at least 1s, --guard-bytes at least 1 MiB, --timeout more than 0", ErrUsage)
	}
	_, err := c.groups()
	return err
}

// Main is the program provision.
func Main() {
	service.Once("provision", "Makes the streams, consumers and entries that the services need, on a NATS server. It may be repeated.", func(ctx context.Context, c *Command) error {
		return c.Run(ctx, os.Stdout, os.Stderr)
	})
}

func (c *Command) groups() (flow.Groups, error) {
	groups := flow.DefaultGroups()
	if c.GroupsFile != "" {
		data, err := os.ReadFile(c.GroupsFile)
		if err != nil {
			return nil, fmt.Errorf("%w: --groups-file: %w", ErrUsage, err)
		}
		if groups, err = flow.ParseGroups(data); err != nil {
			return nil, fmt.Errorf("--groups-file %s: %w", c.GroupsFile, err)
		}
	}
	for _, name := range c.Off {
		i := slices.IndexFunc(groups, func(g flow.Group) bool { return g.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: --off %s: there is no such group", ErrUsage, name)
		}
		groups[i].Off = true
	}
	return groups, nil
}

func (c *Command) limits() flow.Limits {
	limits := flow.DefaultLimits()
	limits.Replicas, limits.LiveReplicas, limits.ScenesKeep, limits.GuardBytes = c.Replicas, c.Replicas, c.ScenesKeep, c.GuardBytes
	return limits
}

const (
	firstTry  = 5 * time.Second // a server of a cluster without a leader does not answer at all
	retryWait = 500 * time.Millisecond
	noPeers   = 10005 // JSClusterNoPeersErrF of nats-server's errors.json: fewer servers have joined than --replicas asks for
)

// starting says whether JetStream may answer otherwise in a moment, as while the servers of a cluster find each other.
func starting(err error) bool {
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		return refused.Code == http.StatusServiceUnavailable || refused.ErrorCode == noPeers
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected)
}

// Run makes it; doing it again changes nothing, or what was asked otherwise.
func (c *Command) Run(ctx context.Context, out io.Writer, log io.Writer) error {
	groups, err := c.groups()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	b, err := c.Connect(ctx, "provisioner", c.Logger(log))
	if err != nil {
		return err
	}
	defer b.Close()
	d := flow.DefaultDeployment()
	d.Groups, d.Limits = groups, c.limits()
	for within := firstTry; ; within *= 2 { // what a try has made the next one finds
		try, cancel := context.WithTimeout(ctx, within)
		err := b.Provision(try, d)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil || !starting(err) {
			return err
		}
		c.Logger(log).Warn("waiting for jetstream", "error", err)
		if !clock.Sleep(ctx, retryWait) {
			return err
		}
	}
	fmt.Fprintf(out, "provisioned: %s\n", groups.Encode())
	return nil
}
