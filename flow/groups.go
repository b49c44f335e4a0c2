package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names and slots of the groups that Spatial-Flow brings along.
const (
	GroupDetect = "detect"
	GroupDepth  = "depth"
)

// Group is one worker group of a deployment. A group owns its slot for ever.
type Group struct {
	Name string `json:"name"`
	Slot int    `json:"slot"`           // 1 is the first token after the mode in a frame's subject
	Task Task   `json:"task,omitempty"` // what its answers are; without it, what its name says ([Group.Does])
	Need Need   `json:"need,omitempty"` // how a frame waits for it; without it, required
	Off  bool   `json:"off,omitempty"`  // left out: no consumer, `_` in its slot, in no plan
	// Retired is off for good: its streams and consumers go once they are empty.
	Retired bool `json:"retired,omitempty"`
	// LiveOnly keeps the group out of lossless plans.
	LiveOnly bool `json:"live_only,omitempty"`
	// From is when the group enters plans; zero: at once.
	From time.Time `json:"from,omitzero"`
}

// Task is what a group's answers are.
type Task string

const (
	TaskDetect Task = "detect" // detections
	TaskDepth  Task = "depth"  // a depth map
	TaskOther  Task = "other"  // answers that flow does not know: [Result.Answers]
)

// Does is the group's task: what its name says unless it is given, and answers of its own if that says nothing.
func (g Group) Does() Task {
	switch {
	case g.Task != "":
		return g.Task
	case g.Name == GroupDetect:
		return TaskDetect
	case g.Name == GroupDepth:
		return TaskDepth
	}
	return TaskOther
}

// Need is how a frame waits for a group.
type Need string

const (
	// NeedRequired holds a lossless frame until the group has answered, and a live one until its deadline.
	NeedRequired Need = "required"
	// NeedOptional never leads in live mode. A lossless frame is given to it only while one of its workers is alive and keeps up,
	// and waits for it until its deadline.
	NeedOptional Need = "optional"
	// NeedShadow is optional, and what it finds is joined and counted but not shown.
	NeedShadow Need = "shadow"
)

// Required says whether every frame waits for the group.
func (g Group) Required() bool { return g.Need == "" || g.Need == NeedRequired }

// MaxGroups bounds the worker groups of a deployment, and so the length of a plan.
const MaxGroups = 16

// Groups is the deployment's list of worker groups. The first required group that is on leads in live mode.
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
		switch group.Does() {
		case TaskDetect, TaskDepth, TaskOther:
		default:
			return fmt.Errorf("%w: group %q: task %q, want detect, depth or other", ErrGroups, group.Name, group.Task)
		}
		switch group.Need {
		case "", NeedRequired, NeedOptional, NeedShadow:
		default:
			return fmt.Errorf("%w: group %q: need %q, want required, optional or shadow", ErrGroups, group.Name, group.Need)
		}
		if group.Retired && !group.Off {
			return fmt.Errorf("%w: group %q is retired but not off", ErrGroups, group.Name)
		}
		names[group.Name], slots[group.Slot] = true, true
	}
	return nil
}

// On lists the groups that take part now: neither left out nor still to come.
func (g Groups) On(now time.Time) Groups {
	return slices.DeleteFunc(slices.Clone(g), func(group Group) bool { return group.Off || now.Before(group.From) })
}

// Find is the group of that name; ok is false when there is none.
func (g Groups) Find(name string) (group Group, ok bool) {
	i := slices.IndexFunc(g, func(group Group) bool { return group.Name == name })
	if i < 0 {
		return Group{}, false
	}
	return g[i], true
}

// LosslessPlan names, in slot order, the groups that answer a frame of a lossless source now: all that are required, and
// those of the others that takes says.
func (g Groups) LosslessPlan(now time.Time, takes func(Group) bool) []string {
	on := slices.DeleteFunc(g.On(now), func(group Group) bool { return group.LiveOnly || !group.Required() && !takes(group) })
	slices.SortFunc(on, func(a, b Group) int { return a.Slot - b.Slot })
	plan := make([]string, len(on))
	for i, group := range on {
		plan[i] = group.Name
	}
	return plan
}

// predictToken stands before the sources of gateways, which may publish frames of those alone. It is no group's name.
const predictToken = "_predict"

// FrameSubject is frames.<mode>.<slot1>…<slotn>.<source>: a slot holds its group's name when the plan
// contains the group, else `_`. Before a source of POST /predict stands _predict.
func (g Groups) FrameSubject(mode Mode, plan []string, source string) string {
	slots := slices.Repeat([]string{"_"}, len(g))
	for _, group := range g {
		if slices.Contains(plan, group.Name) {
			slots[group.Slot-1] = group.Name
		}
	}
	if strings.HasPrefix(source, PredictPrefix) {
		source = predictToken + "." + source
	}
	return "frames." + string(mode) + "." + strings.Join(slots, ".") + "." + source
}

// PredictSubjects are those of the frames that gateways publish, whatever the number of groups.
func PredictSubjects() (subjects []string) {
	for n := range MaxGroups {
		subjects = append(subjects, "frames."+string(ModeLive)+strings.Repeat(".*", n+1)+"."+predictToken+".*")
	}
	return subjects
}

// ValidSubject returns [ErrMessage] when a frame came on the subject of another source, for which its sender may not publish.
func (f *Frame) ValidSubject(subject string) error {
	tokens := strings.Split(subject, ".")
	source := tokens[len(tokens)-1]
	if source != f.Source || len(tokens) > 1 && tokens[len(tokens)-2] == predictToken && !strings.HasPrefix(source, PredictPrefix) {
		return fmt.Errorf("%w: a frame of source %.80q on %.200q", ErrMessage, f.Source, subject)
	}
	return nil
}

// FrameFilter is what a group's consumer selects: frames whose slot names it, however many slots follow.
func (g Group) FrameFilter(mode Mode) string {
	return "frames." + string(mode) + "." + strings.Repeat("*.", g.Slot-1) + g.Name + ".>"
}

// AcceptedSubject selects the stored frames of one source as the server republishes them, of a producer that knows just
// these groups.
func (g Groups) AcceptedSubject(mode Mode, source string) string {
	return "accepted." + string(mode) + "." + strings.Repeat("*.", len(g)) + source
}

// SourceFilters select the frames of one source in their stream, each those of producers that know so many of the groups.
func (g Groups) SourceFilters(mode Mode, source string) (filters []string) {
	for n := range g {
		filters = append(filters, "frames."+string(mode)+"."+strings.Repeat("*.", n+1)+source)
	}
	return filters
}

// AllAccepted selects the stored frames of all sources in one mode as the server republishes them, however many groups
// their producers know. Such a subject ends in the source.
func AllAccepted(mode Mode) string { return "accepted." + string(mode) + ".>" }
