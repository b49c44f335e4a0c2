package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway/live/smaller"
)

// MaxWatchBytes bounds a viewer's message.
const MaxWatchBytes = 4 << 10

// parseWatch reads a viewer's message. [ErrWatch] is returned when it is none or names more than limit sources.
func parseWatch(data []byte, limit int) (api.Watch, error) {
	var watch api.Watch
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&watch); err != nil {
		return watch, fmt.Errorf("%w: %w", ErrWatch, err)
	}
	if watch.Sources == nil || decoder.More() {
		return watch, fmt.Errorf(`%w: want {"sources":["name"]}`, ErrWatch)
	}
	slices.Sort(watch.Sources)
	watch.Sources = slices.Compact(watch.Sources)
	if len(watch.Sources) > limit {
		return watch, fmt.Errorf("%w: %d sources, at most %d", ErrWatch, len(watch.Sources), limit)
	}
	for _, source := range watch.Sources {
		if err := flow.ValidToken("source", source); err != nil {
			return watch, fmt.Errorf("%w: %w", ErrWatch, err)
		}
		if strings.HasPrefix(source, flow.PredictPrefix) {
			return watch, fmt.Errorf("%w: %s is for pictures that are posted, which nobody watches", ErrWatch, source)
		}
	}
	switch {
	case watch.MaxFPS != 0 && !(watch.MaxFPS >= 0.01 && watch.MaxFPS <= 1000):
		return watch, fmt.Errorf("%w: max_fps %v, want 0.01 to 1000", ErrWatch, watch.MaxFPS)
	case watch.MaxWidth != 0 && watch.MaxWidth < smaller.Least:
		return watch, fmt.Errorf("%w: max_width %d, want %d or more", ErrWatch, watch.MaxWidth, smaller.Least)
	case watch.PartBytes != 0 && watch.PartBytes < leastPart:
		return watch, fmt.Errorf("%w: part_bytes %d, want %d or more", ErrWatch, watch.PartBytes, leastPart)
	}
	return watch, nil
}

// leastPart keeps what parts cost beside what they hold small.
const leastPart = 1 << 10
