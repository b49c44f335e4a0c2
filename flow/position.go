package flow

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Position is how far a session has come: its KV record, made by the producer before the first frame and carried on by the
// fuser.
type Position struct {
	Seq       uint64 `json:"seq"`       // of the last frame whose scene is stored; 0: none
	Partition int    `json:"partition"` // of all frames of the session
}

// Encode is the record's JSON.
func (p Position) Encode() []byte {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // two integers: can't fail
	}
	return data
}

// ParsePosition reads the record of a session of source. A record that is but a number is of the time when the partition
// followed from the source. [ErrMessage] is returned when it is neither.
func ParsePosition(source string, data []byte) (Position, error) {
	if seq, err := strconv.ParseUint(string(data), 10, 64); err == nil {
		return Position{Seq: seq, Partition: FirstPartition(source)}, nil
	}
	var p Position
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%w: position: %w", ErrMessage, err)
	}
	return p, validPlace(Wire, p.Partition, 0)
}

// PositionKey is the KV key of a session's position.
func PositionKey(source, session string) string { return "position." + source + "." + session }

// ParsePositionKey takes a position's key apart.
func ParsePositionKey(key string) (source, session string, ok bool) {
	rest, found := strings.CutPrefix(key, "position.")
	source, session, ok = strings.Cut(rest, ".")
	return source, session, found && ok
}

// EndedKey is the KV key that says that every frame of a session has its scene: whoever could go on with it need not.
func EndedKey(source, session string) string { return "ended." + source + "." + session }

// FilmKey is the KV key of what the film of a session is known by, so that another of its name is noticed.
func FilmKey(source, session string) string { return "film." + source + "." + session }

// Attempts are the tries of a frame that a group's workers have not finished.
type Attempts struct {
	Tries int   `json:"tries"`
	Cause Cause `json:"cause"` // what ended the last one; [CauseKilled] while one is under way: who dies of it says no more
}

// AttemptKey is the KV key of the [Attempts] of a group at a frame.
func AttemptKey(group string, id FrameID) string {
	return "attempt." + group + "." + id.Source + "." + id.Session + "." + strconv.FormatUint(id.Seq, 10)
}
