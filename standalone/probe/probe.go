// Package probe is the command `spatialflow probe`.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spatial-flow/spatial-flow/producer"
)

// Command says what a source is, without a pipeline.
type Command struct {
	Source  string        `arg:"" placeholder:"URI" help:"A source as up --source takes it: a camera (its transport, codec, size, rate, how it asks for the password, and when its first picture came), a film (its container, codec, size, rotation, duration), a folder (what it holds by kind), a picture, or a street. Write $${NAME} for a password in the environment."`
	Timeout time.Duration `default:"1m" help:"How long it may take."`
}

// Print looks at the source and prints what there is, in one screen. An error says why it can't be read.
func (p *Command) Print(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	facts, err := producer.Probe(ctx, p.Source)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range facts {
		fmt.Fprintf(table, "%s\t%s\n", f.Name, f.Value)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("nothing in %v (--timeout)", p.Timeout)
	}
	return errors.Join(table.Flush(), err)
}
