// Package provision is the command that makes what the services need on a NATS server: streams, consumers and KV
// entries. It needs neither cgo nor the services. It may stay, and make again what is removed.
package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// ErrUsage is returned when the flags make no deployment.
var ErrUsage = errors.New("usage")

// Command is the command line of provision.
type Command struct {
	service.Connection
	service.Logging
	service.AdminAddress
	Off             []string      `placeholder:"GROUP" help:"Groups, of those named, that are left out: no frame waits for them."`
	Groups          string        `placeholder:"JSON" xor:"groups" help:"List of the worker groups instead of detect and depth, as in docs/protocol.md: [{\"name\":\"detect\",\"slot\":1}, …] with task, need, off, retired, live_only, from. A group that is there and not named becomes off."`
	GroupsFile      string        `placeholder:"FILE" xor:"groups" type:"existingfile" help:"File with that list."`
	Partitions      int           `default:"16" help:"Partitions of the sessions that begin, each the work of one fuser at a time: 1 to 64. Their number only grows."`
	Replicas        int           `default:"1" help:"Copies of each stream: 1, or 3 in a cluster."`
	ScenesKeep      time.Duration `default:"15m" help:"How long a lossless scene stays readable."`
	PositionsKeep   time.Duration `default:"720h" help:"How long a run that is not carried on can be."`
	GuardBytes      int64         `default:"2147483648" help:"Most bytes of each lossless stream."`
	LiveFrameBytes  int64         `default:"536870912" help:"Most bytes of the stream of live frames."`
	LiveResultBytes int64         `default:"268435456" help:"Most bytes of the stream of live scenes, and of each of live results."`
	LiveStorage     string        `enum:"file,memory," default:"" help:"Where the live streams are: file, or memory, which a restart empties (use --watch). Without it, where they are; in files at first."`
	LiveReplicas    int           `default:"0" help:"Copies of each live stream: 1 to --replicas; 0: as many as of the others."`
	Timeout         time.Duration `default:"1m" help:"How long to wait for NATS, and for JetStream to do it."`
	DryRun          bool          `xor:"how" help:"Print what would change, and change nothing."`
	Watch           bool          `xor:"how" help:"Stay, with an --admin address, make again what is removed, and raise the version of the messages once all read it. Several may: one at a time does."`
}

// Validate returns [ErrUsage] or [flow.ErrGroups], naming the flag, when the settings make no deployment.
func (c *Command) Validate() error {
	if err := c.Connection.Validate(); err != nil {
		return err
	}
	switch {
	case c.Replicas < 1 || c.Replicas > 5 || c.LiveReplicas < 0 || c.LiveReplicas > c.Replicas:
		return fmt.Errorf("%w: --replicas is 1 to 5, --live-replicas 0 to that", ErrUsage)
	case c.Partitions < 1 || c.Partitions > flow.MaxPartitions:
		return fmt.Errorf("%w: --partitions is 1 to %d", ErrUsage, flow.MaxPartitions)
	case c.ScenesKeep < time.Second || c.PositionsKeep < c.ScenesKeep:
		return fmt.Errorf("%w: --scenes-keep is at least 1s, --positions-keep at least that", ErrUsage)
	case c.GuardBytes < leastBytes || c.LiveFrameBytes < leastBytes || c.LiveResultBytes < leastBytes:
		return fmt.Errorf("%w: --guard-bytes, --live-frame-bytes and --live-result-bytes are at least 1 MiB", ErrUsage)
	case c.Timeout <= 0:
		return fmt.Errorf("%w: --timeout is more than 0", ErrUsage)
	}
	_, err := c.groups()
	return err
}

const leastBytes = 1 << 20

// Main is the program provision.
func Main() {
	if service.Controlled("provision") {
		return
	}
	service.Once("provision", "Makes the streams, consumers and entries that the services need, on a NATS server. It may be repeated.\n\nWith --watch it stays; provision healthy [URL] and provision drain [URL] ask and stop one that does.", func(ctx context.Context, c *Command) error {
		return c.Run(ctx, os.Stdout, os.Stderr)
	})
}

// groups are those that are asked for. A list may leave out groups that are there, with their slots.
func (c *Command) groups() (flow.Groups, error) {
	groups, flag, list := flow.DefaultGroups(), "--groups", []byte(c.Groups)
	if c.GroupsFile != "" {
		var err error
		flag = "--groups-file " + c.GroupsFile
		if list, err = os.ReadFile(c.GroupsFile); err != nil {
			return nil, fmt.Errorf("%w: --groups-file: %w", ErrUsage, err)
		}
	}
	if c.Groups != "" || c.GroupsFile != "" {
		groups = nil
		if err := json.Unmarshal(list, &groups); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", flag, flow.ErrGroups, err)
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

// deployment is what is asked for.
func (c *Command) deployment() (flow.Deployment, error) {
	d := flow.DefaultDeployment()
	d.Partitions = c.Partitions
	d.Limits = flow.Limits{
		Replicas: c.Replicas, ScenesKeep: c.ScenesKeep, PositionsKeep: c.PositionsKeep, GuardBytes: c.GuardBytes,
		LiveFrameBytes: c.LiveFrameBytes, LiveResultBytes: c.LiveResultBytes, LiveStorage: flow.LiveStorage(c.LiveStorage), LiveReplicas: c.LiveReplicas,
	}
	var err error
	d.Groups, err = c.groups()
	return d, err
}

// Run makes it, and prints what it changed; doing it again changes nothing, or what was asked otherwise. With --watch it
// stays until ctx ends.
func (c *Command) Run(ctx context.Context, out io.Writer, log io.Writer) error {
	asked, err := c.deployment()
	if err != nil {
		return err
	}
	if c.Watch {
		return service.Serve(ctx, "provisioner", c.Connection, c.AdminAddress, c.Logger(log).With("service", "provision"), func(ctx context.Context, env service.Env) error {
			return c.watch(ctx, env, asked, out)
		})
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	b, err := c.Connect(ctx, "provisioner", c.Logger(log))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.CheckServer(ctx); err != nil {
		return err
	}
	if c.DryRun {
		changes, err := b.Difference(ctx, asked)
		if err != nil {
			return err
		}
		print(out, "would change", changes)
		return nil
	}
	return c.apply(ctx, b, asked, out)
}

// apply provisions once and prints what that changed.
func (c *Command) apply(ctx context.Context, b *bus.Bus, asked flow.Deployment, out io.Writer) error {
	changes, err := b.Apply(ctx, asked)
	print(out, "changed", changes)
	if err != nil {
		return err
	}
	d, _, err := b.Deployment(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "provisioned: %s\n", d.Encode())
	return nil
}

func print(out io.Writer, what string, changes []bus.Change) {
	for _, change := range changes {
		fmt.Fprintf(out, "%s: %s\n", what, change.Text)
	}
	if len(changes) == 0 {
		fmt.Fprintf(out, "%s: nothing\n", what)
	}
}
