// Package runs is the command `spatialflow runs`: how far the sources of a deployment have come, and how to forget that.
package runs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/roles"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/owner"
)

// Command is the command line.
type Command struct {
	List   List   `cmd:"" help:"List the runs that can be carried on, a line each."`
	Forget Forget `cmd:"" help:"Forget a run, or all of a source, that nobody carries: it can't be carried on any more, and what waits of it goes. Its stored scenes stay."`
}

// reach is how the deployment is reached.
type reach struct {
	service.Connection
	Timeout time.Duration `default:"10s" help:"How long to wait for NATS."`
}

// List is `spatialflow runs list`.
type List struct {
	reach
	Source string `arg:"" optional:"" help:"Runs of this source alone."`
}

// Forget is `spatialflow runs forget`.
type Forget struct {
	reach
	Source string `arg:"" help:"The source."`
	Run    string `arg:"" optional:"" help:"One of its runs; without it all of them."`
}

func (f reach) within(ctx context.Context, do func(context.Context, *bus.Bus) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	b, err := f.Connect(ctx, string(roles.Provisioner), service.Logging{LogFormat: "text"}.Logger(os.Stderr))
	if err != nil {
		return err
	}
	defer b.Close()
	return do(ctx, b)
}

// Print prints the runs, by source, the newest last.
func (l List) Print(ctx context.Context, out io.Writer) error {
	return l.within(ctx, func(ctx context.Context, b *bus.Bus) error {
		records, err := b.RunRecords(ctx, l.Source)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SOURCE\tRUN\tSEQ\tPARTITION\tAGE\tENDED")
		for _, r := range records {
			ended := "no"
			if r.Ended {
				ended = "yes"
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%v\t%s\n", r.Source, r.Session, r.Position.Seq, r.Position.Partition, r.Age.Round(time.Second), ended)
		}
		return table.Flush()
	})
}

// ErrCarried is returned when a producer has the source.
var ErrCarried = errors.New("source is being carried")

// Do forgets, and returns [bus.ErrNotFound] when there is no such run, and [ErrCarried], naming the producer, when one has the
// source.
func (f Forget) Do(ctx context.Context, out io.Writer) error {
	return f.within(ctx, func(ctx context.Context, b *bus.Bus) error {
		holder, err := b.LeaseHolder(ctx, owner.LeaseName(f.Source))
		if err == nil {
			return fmt.Errorf("%w: producer %s has %s: stop it first", ErrCarried, holder, f.Source)
		}
		if !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		records, err := b.RunRecords(ctx, f.Source)
		if err != nil {
			return err
		}
		forgotten := 0
		for _, r := range records {
			if f.Run != "" && r.Session != f.Run {
				continue
			}
			if err := b.Forget(ctx, r.Source, r.Session); err != nil {
				return err
			}
			fmt.Fprintf(out, "forgotten: run %s of %s, at frame %d\n", r.Session, r.Source, r.Position.Seq)
			forgotten++
		}
		if forgotten == 0 {
			return fmt.Errorf("%w: no run %s of source %s", bus.ErrNotFound, f.Run, f.Source)
		}
		return nil
	})
}
