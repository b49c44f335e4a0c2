package flow

import (
	"encoding/json"
	"fmt"
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
