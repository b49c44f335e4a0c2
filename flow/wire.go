package flow

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrNewer is returned when a message is of a version that this program does not read: it is not malformed, and whoever
// runs a newer program reads it.
var ErrNewer = errors.New("message of a newer version")

func validVersion(what string, version int) error {
	if version > Wire {
		return fmt.Errorf("%w: %s version %d, this reader knows 1 to %d", ErrNewer, what, version, Wire)
	}
	if version < 1 {
		return fmt.Errorf("%w: %s version %d, this reader knows 1 to %d", ErrMessage, what, version, Wire)
	}
	return nil
}

// isNewer says whether bytes that could not be decoded are a message of a newer version all the same: its other fields
// may have changed.
func isNewer(data []byte) bool {
	var message struct {
		Version int `msgpack:"v"`
	}
	return msgpack.Unmarshal(data, &message) == nil && message.Version > Wire
}

// Bounds of what a message may say beside its picture, map and detections.
const (
	MaxHops       = 2 + MaxGroups // producer, each group, fuser
	MaxText       = 1024          // bytes of an error, a model's name, a label
	MaxFile       = MaxText       // bytes of the name of a frame's file
	MaxDimension  = 1 << 16       // pixels of a picture's side
	MaxAnswers    = 64            // keys of one group's answers
	MaxAnswerSize = 64 << 10      // bytes of all answers of a group, with their keys
)

// CutText shortens what is said of an error to what a message may say, at the end of a character.
func CutText(text string) string {
	const more = "…"
	if len(text) <= MaxText {
		return text
	}
	end := MaxText - len(more)
	for end > 0 && text[end]&0xc0 == 0x80 { // within a character of UTF-8
		end--
	}
	return text[:end] + more
}

// FileName is a file's name as messages and JSON have it. One that is UTF-8 stays as it is; of others, each % and each byte that
// belongs to no character is percent-encoded, so that unescaping gives the name back. What is longer than [MaxFile] is cut, and ends in ….
func FileName(name string) string {
	if !utf8.ValidString(name) {
		var escaped strings.Builder
		for i := 0; i < len(name); {
			r, size := utf8.DecodeRuneInString(name[i:])
			if r == '%' || r == utf8.RuneError && size == 1 {
				fmt.Fprintf(&escaped, "%%%02X", name[i])
			} else {
				escaped.WriteString(name[i : i+size])
			}
			i += size
		}
		name = escaped.String()
	}
	return CutText(name)
}

func validFile(name string) error {
	if len(name) > MaxFile || !utf8.ValidString(name) {
		return fmt.Errorf("%w: a file's name of %d bytes, at most %d of UTF-8", ErrMessage, len(name), MaxFile)
	}
	return nil
}

func validLedger(ledger []Hop) error {
	if len(ledger) > MaxHops {
		return fmt.Errorf("%w: a ledger of %d hops, at most %d", ErrMessage, len(ledger), MaxHops)
	}
	for _, hop := range ledger {
		if err := ValidToken("stage of a hop", hop.Stage); err != nil {
			return fmt.Errorf("%w: %w", ErrMessage, err)
		}
	}
	return nil
}

func validText(what, text string) error {
	if len(text) > MaxText {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrMessage, what, len(text), MaxText)
	}
	return nil
}

func validPlace(version, partition, copies int) error {
	if version < 2 && (partition != 0 || copies != 0) {
		return fmt.Errorf("%w: a partition or a copy in version %d", ErrMessage, version)
	}
	if partition < 0 || partition >= MaxPartitions {
		return fmt.Errorf("%w: partition %d is not 0 to %d", ErrMessage, partition, MaxPartitions-1)
	}
	if copies < 0 {
		return fmt.Errorf("%w: copy %d is below 0", ErrMessage, copies)
	}
	return nil
}

func validSize(width, height int) error {
	if width < 0 || height < 0 || width > MaxDimension || height > MaxDimension {
		return fmt.Errorf("%w: a picture of %dx%d pixels, at most %d a side", ErrMessage, width, height, MaxDimension)
	}
	return nil
}

func validAnswers(answers map[string]msgpack.RawMessage) error {
	if len(answers) > MaxAnswers {
		return fmt.Errorf("%w: %d answers, at most %d", ErrMessage, len(answers), MaxAnswers)
	}
	size := 0
	for key, value := range answers {
		if err := ValidToken("key of an answer", key); err != nil {
			return fmt.Errorf("%w: %w", ErrMessage, err)
		}
		size += len(key) + len(value)
	}
	if size > MaxAnswerSize {
		return fmt.Errorf("%w: answers of %d bytes, at most %d", ErrMessage, size, MaxAnswerSize)
	}
	return nil
}
