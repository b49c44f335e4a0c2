package flow

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// Partitions is the number of partitions of results and scenes: a partition has one fuser.
const Partitions = 4

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

// Partition is FNV-1a (32 bit) of the source's name modulo [Partitions].
func Partition(source string) int {
	h := fnv.New32a()
	h.Write([]byte(source))
	return int(h.Sum32() % Partitions)
}

// ResultSubject is results.<group>.<mode>.<partition>.<source>.
func ResultSubject(group string, mode Mode, source string) string {
	return "results." + group + "." + string(mode) + "." + strconv.Itoa(Partition(source)) + "." + source
}

// ResultFilter selects the results of one group, mode and partition.
func ResultFilter(group string, mode Mode, partition int) string {
	return "results." + group + "." + string(mode) + "." + strconv.Itoa(partition) + ".>"
}

// SceneSubject is scenes.live.<partition>.<source>, or, where every scene has a subject of its own,
// scenes.lossless.<partition>.<source>.<session>.<seq>.
func SceneSubject(mode Mode, id FrameID) string {
	subject := "scenes." + string(mode) + "." + strconv.Itoa(Partition(id.Source)) + "." + id.Source
	if mode == ModeLossless {
		subject += "." + id.Session + "." + strconv.FormatUint(id.Seq, 10)
	}
	return subject
}

// SceneFilter selects the lossless scenes of one source and session; an empty session selects all of them.
func SceneFilter(source, session string) string {
	subject := "scenes." + string(ModeLossless) + "." + strconv.Itoa(Partition(source)) + "." + source
	if session != "" {
		subject += "." + session
	}
	return subject + ".>"
}

// DoneSubject is done.<stage>.<source>; the stage is a group's name or fuser.
func DoneSubject(stage, source string) string { return "done." + stage + "." + source }

// AliveSubject is alive.<stage>.<instance>.
func AliveSubject(stage, instance string) string { return "alive." + stage + "." + instance }

// ParseAliveSubject takes an alive subject apart.
func ParseAliveSubject(subject string) (stage, instance string, ok bool) {
	rest, found := strings.CutPrefix(subject, "alive.")
	stage, instance, ok = strings.Cut(rest, ".")
	return stage, instance, found && ok
}

// PositionKey is the KV key of a run's position: the seq of its last stored scene.
func PositionKey(source, session string) string { return "position." + source + "." + session }

// ParsePositionKey takes a position's key apart.
func ParsePositionKey(key string) (source, session string, ok bool) {
	rest, found := strings.CutPrefix(key, "position.")
	source, session, ok = strings.Cut(rest, ".")
	return source, session, found && ok
}
