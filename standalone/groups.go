package standalone

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// groups are those of the deployment: detect and depth, each with a model of ours unless it is left out, and those of --group.
// before are the groups that the data folder has already: each keeps its slot, and those that are not named any more are off.
func (u *Up) groups(before flow.Groups) (flow.Groups, error) {
	groups := slices.Clone(before)
	for i := range groups {
		groups[i].Off = true
	}
	on := func(name string, need flow.Need, off bool) {
		i := slices.IndexFunc(groups, func(g flow.Group) bool { return g.Name == name })
		if i < 0 {
			i = len(groups)
			groups = append(groups, flow.Group{Name: name, Slot: i + 1})
		}
		groups[i].Need, groups[i].Off, groups[i].Retired = need, off, false
	}
	on(flow.GroupDetect, "", u.DetectModel == None)
	on(flow.GroupDepth, "", u.DepthModel == None)
	for i, given := range u.Group {
		name, need, _ := strings.Cut(given, "=")
		switch {
		case name == flow.GroupDetect || name == flow.GroupDepth || slices.ContainsFunc(u.Group[:i], func(g string) bool { return g == name || strings.HasPrefix(g, name+"=") }):
			return nil, fmt.Errorf("--group %s: there is a group of this name", given)
		case u.NATSListen == "":
			return nil, fmt.Errorf("--group %s needs --nats-listen: its workers are programs of their own", given)
		case need == "":
			need = string(flow.NeedOptional)
		}
		on(name, flow.Need(need), false)
	}
	if err := groups.Validate(); err != nil {
		return nil, fmt.Errorf("--group: %w", err)
	}
	return groups, nil
}

// here are the groups whose workers run in this process.
func here(groups flow.Groups) flow.Groups {
	return slices.DeleteFunc(groups.On(time.Now()), func(g flow.Group) bool { return g.Does() == flow.TaskOther })
}
