package join

import (
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Need says how a frame waits for a group of its plan.
type Need int

const (
	// Required is waited for until it has answered, in live mode at most until the frame's deadline.
	Required Need = iota
	// Optional is waited for at most until the frame's deadline.
	Optional
	// Shadow holds no live frame, and a lossless one for the least deadline.
	Shadow
	// Off holds no frame: nobody answers for it any more.
	Off
)

// Needs are the groups of a deployment that are not [Required], by name. One that it does not name is required: it was
// added a moment ago.
type Needs map[string]Need

// NeedsOf are the needs of a deployment's groups.
func NeedsOf(groups flow.Groups) Needs {
	n := Needs{}
	for _, group := range groups {
		switch {
		case group.Off:
			n[group.Name] = Off
		case group.Need == flow.NeedOptional:
			n[group.Name] = Optional
		case group.Need == flow.NeedShadow:
			n[group.Name] = Shadow
		}
	}
	return n
}

// waited lists the groups of a plan that a live frame waits for.
func (n Needs) waited(plan []string) []string {
	return slices.DeleteFunc(slices.Clone(plan), func(group string) bool { return n[group] >= Shadow })
}
