package flow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// DeploymentVersion is the version of the deployment object that this program reads and writes.
const DeploymentVersion = 1

// Partitions of results and scenes: a partition has one fuser at a time.
const (
	DefaultPartitions = 16
	MaxPartitions     = 64
)

// Deployment is what all services of a deployment agree on: one KV entry, written by provisioning and watched by all.
type Deployment struct {
	Version    int    `json:"version"`    // [DeploymentVersion]
	Wire       int    `json:"wire"`       // version of the frames that are written: all that are alive read it
	Partitions int    `json:"partitions"` // for sessions that begin; it only grows
	Groups     Groups `json:"groups"`
	Limits     Limits `json:"limits"`
}

// DefaultDeployment is that of a single server, with the groups that Spatial-Flow brings along.
func DefaultDeployment() Deployment {
	return Deployment{Version: DeploymentVersion, Wire: Wire, Partitions: DefaultPartitions, Groups: DefaultGroups(), Limits: DefaultLimits()}
}

// With is the deployment with other groups.
func (d Deployment) With(groups Groups) Deployment {
	d.Groups = groups
	return d
}

// Limits are what a deployment chooses about its streams. Durations are in nanoseconds.
type Limits struct {
	Replicas      int           `json:"replicas"`          // of each stream: 1, or 3 in a cluster
	ScenesKeep    time.Duration `json:"scenes_keep_ns"`    // how long a lossless scene stays readable
	PositionsKeep time.Duration `json:"positions_keep_ns"` // how long a run that is not carried on can be
	// GuardBytes bounds each lossless stream. The windows of the sources bound it long before.
	GuardBytes int64 `json:"guard_bytes"`
	// LiveFrameBytes and LiveResultBytes bound the stream of live frames, and that of live scenes and each of live results.
	// Credits and deadlines bound them long before.
	LiveFrameBytes  int64       `json:"live_frame_bytes"`
	LiveResultBytes int64       `json:"live_result_bytes"`
	LiveStorage     LiveStorage `json:"live_storage"`
	LiveReplicas    int         `json:"live_replicas"` // of the live streams: 1 to Replicas
}

// LiveStorage says where the live streams are.
type LiveStorage string

const (
	// LiveInFiles keeps them as long as the server's disk.
	LiveInFiles LiveStorage = "file"
	// LiveInMemory loses them with their server, or, replicated, with most of their servers; provisioning that watches makes
	// them anew.
	LiveInMemory LiveStorage = "memory"
)

// DefaultLimits are those of a single server.
func DefaultLimits() Limits {
	return Limits{
		Replicas: 1, ScenesKeep: 15 * time.Minute, PositionsKeep: 30 * 24 * time.Hour, GuardBytes: 2 << 30,
		LiveFrameBytes: 512 << 20, LiveResultBytes: 256 << 20, LiveStorage: LiveInFiles, LiveReplicas: 1,
	}
}

// LiveBytes is what the live streams of so many groups reserve at most, on each server that has them.
func (l Limits) LiveBytes(groups int) int64 {
	return l.LiveFrameBytes + int64(1+groups)*l.LiveResultBytes
}

// Validate returns [ErrDeployment], naming the field, when a limit is out of its range.
func (l Limits) Validate() error {
	switch {
	case l.Replicas < 1 || l.Replicas > 5:
		return fmt.Errorf("%w: %d replicas, want 1 to 5", ErrDeployment, l.Replicas)
	case l.LiveReplicas < 1 || l.LiveReplicas > l.Replicas:
		return fmt.Errorf("%w: %d replicas of live streams, want 1 to the %d of the others", ErrDeployment, l.LiveReplicas, l.Replicas)
	case l.ScenesKeep < time.Second || l.PositionsKeep < l.ScenesKeep:
		return fmt.Errorf("%w: scenes are kept for %v, positions for %v, want at least 1s and at least as long", ErrDeployment, l.ScenesKeep, l.PositionsKeep)
	case l.GuardBytes < 1 || l.LiveFrameBytes < 1 || l.LiveResultBytes < 1:
		return fmt.Errorf("%w: streams of %d, %d and %d bytes, want some", ErrDeployment, l.GuardBytes, l.LiveFrameBytes, l.LiveResultBytes)
	case l.LiveStorage != LiveInFiles && l.LiveStorage != LiveInMemory:
		return fmt.Errorf("%w: live storage %q, want file or memory", ErrDeployment, l.LiveStorage)
	}
	return nil
}

// ParseDeployment reads what [Deployment.Encode] wrote. [ErrNewer] is returned when a newer program wrote it,
// [ErrDeployment] or [ErrGroups] when it contradicts itself.
func ParseDeployment(data []byte) (Deployment, error) {
	var d Deployment
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("%w: %w", ErrDeployment, err)
	}
	if d.Version > DeploymentVersion {
		return d, fmt.Errorf("%w: deployment version %d, this program knows 1 to %d", ErrNewer, d.Version, DeploymentVersion)
	}
	return d, d.Validate()
}

// Encode is the entry's JSON.
func (d Deployment) Encode() []byte {
	data, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings, ints, bools and times: can't fail
	}
	return data
}

// Validate returns [ErrDeployment] or [ErrGroups], naming the field, when it contradicts itself.
func (d Deployment) Validate() error {
	switch {
	case d.Version < 1:
		return fmt.Errorf("%w: version %d", ErrDeployment, d.Version)
	case d.Wire < 1:
		return fmt.Errorf("%w: wire %d", ErrDeployment, d.Wire)
	case d.Partitions < 1 || d.Partitions > MaxPartitions:
		return fmt.Errorf("%w: %d partitions, want 1 to %d", ErrDeployment, d.Partitions, MaxPartitions)
	}
	if err := d.Limits.Validate(); err != nil {
		return err
	}
	return d.Groups.Validate()
}

// WriteVersion is the version of the frames that this program writes in the deployment.
func (d Deployment) WriteVersion() int { return min(d.Wire, Wire) }

// Begin is the partition of a session of source that begins now, which it keeps.
func (d Deployment) Begin(source string) int {
	if d.WriteVersion() < 2 {
		return FirstPartition(source)
	}
	return Partition(source, d.Partitions)
}

// Stamp sets the version of a frame whose session has the partition: that of [Deployment.WriteVersion], or a newer one when
// that can't name the partition.
func (d Deployment) Stamp(frame *Frame, partition int) {
	frame.Version, frame.Partition = d.WriteVersion(), partition
	switch {
	case frame.Version >= 2:
	case partition == FirstPartition(frame.Source) && frame.Copy == 0:
		frame.Partition = 0
	default:
		frame.Version = 2
	}
}

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
