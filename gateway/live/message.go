package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
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
	}
	return watch, nil
}
