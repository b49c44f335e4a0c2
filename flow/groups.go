package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Names and slots of the groups that Spatial-Flow brings along.
const (
	GroupDetect = "detect"
	GroupDepth  = "depth"
)

// Group is one worker group of a deployment. A group owns its slot for ever.
type Group struct {
	Name string `json:"name"`
	Slot int    `json:"slot"`          // 1 is the first token after the mode in a frame's subject
	Off  bool   `json:"off,omitempty"` // left out: no consumer, `_` in its slot, in no plan
	// LiveOnly keeps the group out of lossless plans.
	LiveOnly bool `json:"live_only,omitempty"`
}

// Groups is the deployment's list of worker groups: one KV entry, written by provisioning and watched by
// producers, fusers and gateways. The first group that is on leads in live mode.
type Groups []Group

// DefaultGroups is detect in slot 1 and depth in slot 2.
func DefaultGroups() Groups {
	return Groups{{Name: GroupDetect, Slot: 1}, {Name: GroupDepth, Slot: 2}}
}

// ParseGroups reads what [Groups.Encode] wrote.
func ParseGroups(data []byte) (Groups, error) {
	var groups Groups
	if err := json.Unmarshal(data, &groups); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGroups, err)
	}
	return groups, groups.Validate()
}

// Encode is the entry's JSON.
func (g Groups) Encode() []byte {
	data, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings, ints and bools: can't fail
	}
	return data
}

// Validate returns [ErrGroups] when slots are not exactly 1 to n or a name is bad or taken twice.
func (g Groups) Validate() error {
	if len(g) == 0 || len(g) > MaxGroups {
		return fmt.Errorf("%w: %d groups, want 1 to %d", ErrGroups, len(g), MaxGroups)
	}
	names, slots := map[string]bool{}, make([]bool, len(g)+1)
	for _, group := range g {
		if err := ValidGroup(group.Name); err != nil {
			return fmt.Errorf("%w: %w", ErrGroups, err)
		}
		if group.Slot < 1 || group.Slot > len(g) || slots[group.Slot] || names[group.Name] {
			return fmt.Errorf("%w: group %q, slot %d: each name and each slot of 1 to %d is given once", ErrGroups, group.Name, group.Slot, len(g))
		}
		names[group.Name], slots[group.Slot] = true, true
	}
	return nil
}

// On lists the groups that are not left out.
func (g Groups) On() Groups {
	return slices.DeleteFunc(slices.Clone(g), func(group Group) bool { return group.Off })
}

// LosslessPlan names, in slot order, the groups that must answer every frame of a lossless source.
func (g Groups) LosslessPlan() []string {
	on := slices.DeleteFunc(g.On(), func(group Group) bool { return group.LiveOnly })
	slices.SortFunc(on, func(a, b Group) int { return a.Slot - b.Slot })
	plan := make([]string, len(on))
	for i, group := range on {
		plan[i] = group.Name
	}
	return plan
}

// FrameSubject is frames.<mode>.<slot1>…<slotn>.<source>: a slot holds its group's name when the plan
// contains the group, else `_`.
func (g Groups) FrameSubject(mode Mode, plan []string, source string) string {
	slots := slices.Repeat([]string{"_"}, len(g))
	for _, group := range g {
		if slices.Contains(plan, group.Name) {
			slots[group.Slot-1] = group.Name
		}
	}
	return "frames." + string(mode) + "." + strings.Join(slots, ".") + "." + source
}

// FrameFilter is what a group's consumer selects: frames whose slot names it, however many slots follow.
func (g Group) FrameFilter(mode Mode) string {
	return "frames." + string(mode) + "." + strings.Repeat("*.", g.Slot-1) + g.Name + ".>"
}

// AcceptedSubject selects the stored frames of one source as the server republishes them.
func (g Groups) AcceptedSubject(mode Mode, source string) string {
	return "accepted." + string(mode) + "." + strings.Repeat("*.", len(g)) + source
}
