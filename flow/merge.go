package flow

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// OldDeployment is what holds where the version before was provisioned, which wrote its groups alone: four partitions and
// messages of version 1. Its limits are not known.
func OldDeployment(groups Groups) Deployment {
	return Deployment{Version: DeploymentVersion, Wire: 1, Partitions: 4, Groups: groups, Limits: DefaultLimits()}
}

// Merge is what becomes of old, or of no deployment when its version is 0, when provisioning asks for another one, and what
// differs, a line each. What others rely on stays: slots, tasks, all groups (one that is not named is off), the larger number
// of partitions, and the version of the messages, which is raised only when all read it. Limits are as asked;
// without a LiveStorage that is old's, or [LiveInFiles], and without LiveReplicas it is Replicas. [ErrDeployment], naming the
// group, is returned when a group is to have another slot or another task, or the slot of another; that or [ErrGroups] when
// what comes of it contradicts itself.
func Merge(old, asked Deployment) (merged Deployment, changes []string, err error) {
	say := func(format string, values ...any) { changes = append(changes, fmt.Sprintf(format, values...)) }
	merged = asked
	merged.Limits.LiveStorage = cmp.Or(asked.Limits.LiveStorage, old.Limits.LiveStorage, LiveInFiles)
	merged.Limits.LiveReplicas = cmp.Or(asked.Limits.LiveReplicas, asked.Limits.Replicas)
	merged.Groups = slices.Clone(asked.Groups)
	for i := range merged.Groups {
		merged.Groups[i].Off = merged.Groups[i].Off || merged.Groups[i].Retired
	}
	if old.Version == 0 {
		say("deployment: new")
		return merged, changes, merged.Validate()
	}
	merged.Version, merged.Wire = max(old.Version, asked.Version), old.Wire
	if merged.Partitions = max(old.Partitions, asked.Partitions); merged.Partitions > old.Partitions {
		say("partitions: %d → %d", old.Partitions, merged.Partitions)
	} else if asked.Partitions < old.Partitions {
		say("partitions: %d stay, %d were asked for", old.Partitions, asked.Partitions)
	}
	for _, group := range merged.Groups {
		before, known := old.Groups.Find(group.Name)
		if !known {
			if i := slices.IndexFunc(old.Groups, func(g Group) bool { return g.Slot == group.Slot }); i >= 0 {
				return old, nil, fmt.Errorf("%w: group %s is to have slot %d, which is that of %s: the next one is %d", ErrDeployment, group.Name, group.Slot, old.Groups[i].Name, len(old.Groups)+1)
			}
			say("group %s: new, slot %d, %s, %s%s", group.Name, group.Slot, group.Does(), group.needs(), group.takesPart())
			continue
		}
		if before.Slot != group.Slot {
			return old, nil, fmt.Errorf("%w: group %s is to have slot %d, and has slot %d: slots never move", ErrDeployment, group.Name, group.Slot, before.Slot)
		}
		if before.Does() != group.Does() {
			return old, nil, fmt.Errorf("%w: group %s (slot %d) is to %s, and it does %s: give another task another name", ErrDeployment, group.Name, group.Slot, group.Does(), before.Does())
		}
		changes = append(changes, before.differences(group)...)
	}
	for _, group := range old.Groups {
		if _, named := asked.Groups.Find(group.Name); named {
			continue
		}
		if !group.Off {
			group.Off = true
			say("group %s: not named, so it is off", group.Name)
		}
		merged.Groups = append(merged.Groups, group)
	}
	return merged, append(changes, old.Limits.differences(merged.Limits)...), merged.Validate()
}

func (g Group) needs() Need { return cmp.Or(g.Need, NeedRequired) }

func (g Group) takesPart() string {
	switch {
	case g.Retired:
		return ", retired"
	case g.Off:
		return ", off"
	case !g.From.IsZero():
		return ", from " + g.From.Format(time.RFC3339)
	}
	return ""
}

// differences tells what becomes of a group, a line each.
func (g Group) differences(next Group) (changes []string) {
	state := func(group Group) string {
		switch {
		case group.Retired:
			return "retired"
		case group.Off:
			return "off"
		}
		return "on"
	}
	for _, field := range []struct{ name, before, after string }{
		{"", state(g), state(next)},
		{"need ", string(g.needs()), string(next.needs())},
		{"live only ", fmt.Sprint(g.LiveOnly), fmt.Sprint(next.LiveOnly)},
		{"from ", g.From.UTC().Format(time.RFC3339Nano), next.From.UTC().Format(time.RFC3339Nano)},
	} {
		if field.before != field.after {
			changes = append(changes, fmt.Sprintf("group %s: %s%s → %s", g.Name, field.name, field.before, field.after))
		}
	}
	return changes
}

// differences tells what becomes of the limits, a line each.
func (l Limits) differences(next Limits) (changes []string) {
	for _, field := range []struct {
		name          string
		before, after any
	}{
		{"replicas", l.Replicas, next.Replicas},
		{"scenes are kept", l.ScenesKeep, next.ScenesKeep},
		{"positions are kept", l.PositionsKeep, next.PositionsKeep},
		{"bytes of a lossless stream", l.GuardBytes, next.GuardBytes},
		{"bytes of live frames", l.LiveFrameBytes, next.LiveFrameBytes},
		{"bytes of live scenes and results", l.LiveResultBytes, next.LiveResultBytes},
		{"live storage", l.LiveStorage, next.LiveStorage},
		{"live replicas", l.LiveReplicas, next.LiveReplicas},
	} {
		if field.before != field.after {
			changes = append(changes, fmt.Sprintf("%s: %v → %v", field.name, field.before, field.after))
		}
	}
	return changes
}
