package pipeline

import (
	"fmt"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
)

// place gives the wanted groups their slots. before are the groups that the data folder has already: each keeps its slot, and
// those that are not wanted any more are off.
func place(before, wanted flow.Groups) (flow.Groups, error) {
	groups := slices.Clone(before)
	for i := range groups {
		groups[i].Off = true
	}
	for _, want := range wanted {
		i := slices.IndexFunc(groups, func(g flow.Group) bool { return g.Name == want.Name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, flow.Group{Name: want.Name, Slot: i + 1})
		}
		groups[i].Need, groups[i].Off, groups[i].Retired = want.Need, want.Off, false
	}
	if err := groups.Validate(); err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	return groups, nil
}
