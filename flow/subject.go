package flow

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// ValidToken returns [ErrName], naming field, when name is not [A-Za-z0-9_-]{1,64}.
func ValidToken(field, name string) error {
	if len(name) == 0 || len(name) > 64 {
		return fmt.Errorf("%w: %s %.80q has %d characters, want 1 to 64", ErrName, field, name, len(name))
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return fmt.Errorf("%w: %s %q may hold only letters, digits, - and _", ErrName, field, name)
		}
	}
	return nil
}

// PredictPrefix begins the names of the sources that gateways are for POST /predict; no other source is called so.
const PredictPrefix = "predict-"

// ValidPrefix returns [ErrName] when prefix, which begins all names and subjects of a deployment beside another in one account,
// is not [A-Za-z0-9_-]{1,16}, or is what the subjects of one without a prefix begin with. None is one too.
func ValidPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if len(prefix) > 16 {
		return fmt.Errorf("%w: prefix %.80q has %d characters, at most 16", ErrName, prefix, len(prefix))
	}
	if err := ValidToken("prefix", prefix); err != nil {
		return err
	}
	switch strings.ToLower(prefix) {
	case "frames", "accepted", "results", "scenes", "done", "alive", "ingest":
		return fmt.Errorf("%w: prefix %q is what subjects without a prefix begin with", ErrName, prefix)
	}
	return nil
}

// Prefixed is a subject of this package with a deployment's prefix, unless that is empty; $KV.<bucket>.<key> is one with the bucket's.
func Prefixed(prefix, subject string) string {
	bucket, isBucket := strings.CutPrefix(subject, "$KV.")
	switch {
	case prefix == "":
		return subject
	case isBucket:
		return "$KV." + prefix + "_" + bucket
	}
	return prefix + "." + subject
}

// PrefixedStream is the name of a stream, or of a bucket's, with a deployment's prefix, unless that is empty.
func PrefixedStream(prefix, stream string) string {
	bucket, isBucket := strings.CutPrefix(stream, "KV_")
	switch {
	case prefix == "":
		return stream
	case isBucket:
		return "KV_" + prefix + "_" + bucket
	}
	return prefix + "_" + stream
}

// Inbox is what the inboxes of a role begin with, each role's with its own: who may listen to one does not hear the others'.
func Inbox(prefix, role string) string {
	if prefix != "" {
		return "_INBOX_" + prefix + "_" + role
	}
	return "_INBOX_" + role
}

// ValidGroup returns [ErrName] when name is not [a-z0-9]{1,16}.
func ValidGroup(name string) error {
	if len(name) == 0 || len(name) > 16 {
		return fmt.Errorf("%w: group %.80q has %d characters, want 1 to 16", ErrName, name, len(name))
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return fmt.Errorf("%w: group %q may hold only lower-case letters and digits", ErrName, name)
		}
	}
	return nil
}

// Partition is where a session of source that begins now has its results and scenes, of so many partitions: FNV-1a (32 bit) of
// the name, http://www.isthe.com/chongo/tech/comp/fnv/, whose low bits each depend on the low bits of the letters alone, so the
// finalizer of MurmurHash3 (fmix32, https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp) mixes all of them.
func Partition(source string, partitions int) int {
	h := fnv.New32a()
	h.Write([]byte(source))
	mixed := h.Sum32()
	mixed = (mixed ^ mixed>>16) * 0x85ebca6b
	mixed = (mixed ^ mixed>>13) * 0xc2b2ae35
	mixed ^= mixed >> 16
	return int(mixed % uint32(partitions))
}

// FirstPartition is the partition of messages of version 1, which do not name it: FNV-1a (32 bit) of the source modulo 4.
func FirstPartition(source string) int {
	h := fnv.New32a()
	h.Write([]byte(source))
	return int(h.Sum32() % 4)
}

// ResultSubject is results.<group>.<mode>.<partition>.<source>. The partition may be [AnyPartition].
func ResultSubject(group string, mode Mode, partition int, source string) string {
	return "results." + group + "." + string(mode) + "." + partitionToken(partition) + "." + source
}

// ResultFilter selects the results of one group, mode and partition.
func ResultFilter(group string, mode Mode, partition int) string {
	return "results." + group + "." + string(mode) + "." + strconv.Itoa(partition) + ".>"
}

// AnyPartition selects what is in all partitions.
const AnyPartition = -1

// SceneSubject is scenes.live.<partition>.<source>, or, where every scene has a subject of its own,
// scenes.lossless.<partition>.<source>.<session>.<seq>. The partition may be [AnyPartition].
func SceneSubject(mode Mode, partition int, id FrameID) string {
	subject := "scenes." + string(mode) + "." + partitionToken(partition) + "." + id.Source
	if mode == ModeLossless {
		subject += "." + id.Session + "." + strconv.FormatUint(id.Seq, 10)
	}
	return subject
}

// SceneFilter selects the lossless scenes of one source and session; an empty session selects all of them. The partition
// may be [AnyPartition].
func SceneFilter(partition int, source, session string) string {
	subject := "scenes." + string(ModeLossless) + "." + partitionToken(partition) + "." + source
	if session != "" {
		subject += "." + session
	}
	return subject + ".>"
}

func partitionToken(partition int) string {
	if partition == AnyPartition {
		return "*"
	}
	return strconv.Itoa(partition)
}

// DoneSubject is done.<stage>.<source>; the stage is a group's name or fuser.
func DoneSubject(stage, source string) string { return "done." + stage + "." + source }

// AliveSubject is alive.<stage>.<instance>.
func AliveSubject(stage, instance string) string { return "alive." + stage + "." + instance }
