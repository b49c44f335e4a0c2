package producer

import (
	"context"

	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// Fact is one thing that there is to say of a source.
type Fact = source.Fact

// Probe looks at a source, given as to --source, and says what is there and what would be done with it. With an error it says
// what was found before.
func Probe(ctx context.Context, arg string) ([]Fact, error) {
	var cfg Config
	if err := service.Defaults(&cfg); err != nil {
		return nil, err
	}
	specs, err := source.Parse([]string{arg}, cfg.settings())
	if err != nil {
		return nil, err
	}
	return source.Probe(ctx, specs[0])
}
