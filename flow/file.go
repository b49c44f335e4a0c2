package flow

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxFile bounds the name of a frame's file, in bytes.
const MaxFile = 1024

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
	return CutText(name) // MaxText is as long
}

func validFile(name string) error {
	if len(name) > MaxFile || !utf8.ValidString(name) {
		return fmt.Errorf("%w: a file's name of %d bytes, at most %d of UTF-8", ErrMessage, len(name), MaxFile)
	}
	return nil
}
