package standalone

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// Provision is the command `spatialflow provision`: it makes the streams, consumers and entries that the services need.
type Provision struct {
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
func (p *Provision) Validate() error {
	if p.Replicas < 1 || p.Replicas > 5 || p.ScenesKeep < time.Second || p.GuardBytes < 1<<20 || p.Timeout <= 0 {
		return fmt.Errorf("%w: --replicas is 1 to 5, --scenes-keep at least 1s, --guard-bytes at least 1 MiB, --timeout more than 0", ErrUsage)
	}
	_, err := p.groups()
	return err
}

func (p *Provision) groups() (flow.Groups, error) {
	groups := flow.DefaultGroups()
	if p.GroupsFile != "" {
		data, err := os.ReadFile(p.GroupsFile)
		if err != nil {
			return nil, fmt.Errorf("%w: --groups-file: %w", ErrUsage, err)
		}
		if groups, err = flow.ParseGroups(data); err != nil {
			return nil, fmt.Errorf("--groups-file %s: %w", p.GroupsFile, err)
		}
	}
	for _, name := range p.Off {
		i := slices.IndexFunc(groups, func(g flow.Group) bool { return g.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: --off %s: there is no such group", ErrUsage, name)
		}
		groups[i].Off = true
	}
	return groups, nil
}

// RunProvision does it; doing it again changes nothing, or what was asked otherwise.
func (p *Provision) RunProvision(ctx context.Context, out io.Writer, log io.Writer) error {
	groups, err := p.groups()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	b, err := p.Connect(ctx, "provisioner", p.Logger(log))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Provision(ctx, groups, bus.Limits{Replicas: p.Replicas, ScenesKeep: p.ScenesKeep, GuardBytes: p.GuardBytes}); err != nil {
		return err
	}
	fmt.Fprintf(out, "provisioned: %s\n", groups.Encode())
	return nil
}
