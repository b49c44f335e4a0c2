package access

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Entry is what a file of tokens says of one.
type Entry struct {
	Name    string
	Sum     [sha256.Size]byte // see [Sum]
	Sources []string          // patterns
	May     []Right
	Expires time.Time // zero: never
	Rate    float64   // requests a second; 0: as many as it likes
}

// text is the entry as a list has it, with what stands before each of its lines.
func (e Entry) text(indent string) string {
	var b strings.Builder
	line := func(key, format string, value any) {
		fmt.Fprintf(&b, "%s  %s: "+format+"\n", indent, key, value)
	}
	line("name", "%s", e.Name)
	line("sha256", "%x", e.Sum)
	if len(e.Sources) > 0 {
		quoted := make([]string, len(e.Sources))
		for i, source := range e.Sources {
			quoted[i] = strconv.Quote(source)
		}
		line("sources", "[%s]", strings.Join(quoted, ", "))
	}
	may := make([]string, len(e.May))
	for i, right := range e.May {
		may[i] = string(right)
	}
	line("may", "[%s]", strings.Join(may, ", "))
	if !e.Expires.IsZero() {
		line("expires", "%s", e.Expires.UTC().Format(time.RFC3339))
	}
	if e.Rate != 0 {
		line("rate", "%v", e.Rate)
	}
	return indent + "- " + b.String()[len(indent)+2:]
}

// String is the entry as a list has it that is indented by two.
func (e Entry) String() string { return e.text("  ") }

// Validate returns [ErrFile], naming the field, when no file can say that.
func (e Entry) Validate() error {
	err := errors.New("name: want 1 to 32 of a-z, 0-9 and -")
	if nameText.MatchString(e.Name) {
		err = nil
	}
	for _, right := range e.May {
		if !slices.Contains(Rights, right) {
			err = errors.New("may: there are view, predict, status and manage")
		}
	}
	if err == nil {
		var list yaml.Node
		if err = yaml.Unmarshal([]byte(e.String()), &list); err == nil {
			_, err = parseEntry(list.Content[0].Content[0])
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	return nil
}

// Add adds an entry to a file of tokens, which is made when there is none; what is in it stays as it is written, comments too. [ErrFile] is
// returned, and nothing changed, when that would not be one.
func Add(file string, e Entry) error {
	var data []byte
	if _, err := os.Stat(file); err == nil {
		if data, err = readFile(file); err != nil {
			return err
		}
	}
	more, err := added(file, data, e)
	if err != nil {
		return err
	}
	// At the end of the file itself: another one in its place would not be seen where it is mounted.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	_, err = f.WriteString(more)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("%w: write %s: %w", ErrFile, file, err)
	}
	return nil
}

// added is what has to stand behind what a file says, so that the entry is in it.
func added(file string, data []byte, e Entry) (string, error) {
	if err := e.Validate(); err != nil {
		return "", err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return "tokens:\n" + e.String(), nil
	}
	before, err := parse(file, data)
	if err != nil {
		return "", err
	}
	var document struct{ Tokens yaml.Node }
	if err := yaml.Unmarshal(data, &document); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFile, err)
	}
	more := e.text(strings.Repeat(" ", max(document.Tokens.Column-1, 0)))
	if !bytes.HasSuffix(data, []byte("\n")) {
		more = "\n" + more
	}
	after, err := parse(file, append(bytes.Clone(data), more...))
	if err != nil && len(before) > 0 && document.Tokens.Style&yaml.FlowStyle == 0 {
		return "", err
	}
	if err != nil || len(after) != len(before)+1 {
		return "", fmt.Errorf("%w: %s does not end with a list whose entries begin with -: add the entry yourself", ErrFile, file)
	}
	return more, nil
}
