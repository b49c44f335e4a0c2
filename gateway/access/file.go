package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Bounds of a file of tokens.
const (
	MaxFile     = 1 << 20 // bytes
	MostTokens  = 1024
	mostSources = 256  // patterns of one
	mostRate    = 1e6  // requests a second
	leastRate   = 1e-3 // likewise
)

// entry is what the file says of one token.
type entry struct {
	name    string
	sum     [sha256.Size]byte
	sources []string // patterns
	may     []Right
	expires time.Time // zero: never
	rate    float64   // requests a second; 0: as many as it likes
}

func (e entry) equal(o entry) bool {
	return e.name == o.name && e.sum == o.sum && e.rate == o.rate && e.expires.Equal(o.expires) &&
		slices.Equal(e.sources, o.sources) && slices.Equal(e.may, o.may)
}

// readFile reads a file of tokens; it follows links, so that what a Secret is mounted as is read as it is now.
func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no file", ErrFile, file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%w: %s is larger than %d KiB", ErrFile, file, MaxFile>>10)
	}
	return data, nil
}

// parse reads what a file says. [ErrFile] is returned, with the file's base name, the entry and the field, when that can't be meant.
func parse(file string, data []byte) ([]entry, error) {
	entries, err := parseYAML(data)
	if err != nil { // what is quoted of the file, also by its decoder, may be a token that stands where none should
		return nil, fmt.Errorf("%w: %s: %s", ErrFile, filepath.Base(file), secretText.ReplaceAllString(err.Error(), tokenPrefix+"…"))
	}
	return entries, nil
}

var secretText = regexp.MustCompile(tokenPrefix + `[A-Za-z0-9_-]*`)

func parseYAML(data []byte) ([]entry, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty: want tokens: and a list, which may be []")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one document")
	}
	var list *yaml.Node
	err := fields(document.Content[0], func(key string, value *yaml.Node) error {
		if key != "tokens" {
			return fmt.Errorf("line %d: unknown key %.40q, want tokens", value.Line, key)
		}
		list = value
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case list == nil || list.Kind != yaml.SequenceNode:
		return nil, errors.New("want tokens: and a list, which may be []")
	case len(list.Content) > MostTokens:
		return nil, fmt.Errorf("%d tokens, at most %d", len(list.Content), MostTokens)
	}
	entries := make([]entry, 0, len(list.Content))
	names, sums := map[string]bool{}, map[[sha256.Size]byte]string{}
	for i, node := range list.Content {
		e, err := parseEntry(node)
		if err == nil && names[e.name] {
			err = errors.New("name: there is another token of this name")
		}
		if twin, there := sums[e.sum]; err == nil && there {
			err = fmt.Errorf("sha256: is that of %s too", twin)
		}
		if err != nil {
			return nil, fmt.Errorf("token %d (%s, line %d): %w", i+1, e.name, node.Line, err)
		}
		names[e.name], sums[e.sum] = true, e.name
		entries = append(entries, e)
	}
	return entries, nil
}

// fields hands on what a mapping holds.
func fields(node *yaml.Node, take func(key string, value *yaml.Node) error) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want keys with values", node.Line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, node.Content[i+1]
		if seen[key] {
			return fmt.Errorf("line %d: %.40s is there twice", value.Line, key)
		}
		seen[key] = true
		if err := take(key, value); err != nil {
			return err
		}
	}
	return nil
}

var nameText = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// parseEntry is one of the list. The entry has its name also when something else of it is wrong, if that is one.
func parseEntry(node *yaml.Node) (e entry, err error) {
	e.name = "without a name"
	if node.Kind == yaml.MappingNode { // so that it can be told which
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == "name" && nameText.MatchString(node.Content[i+1].Value) {
				e.name = node.Content[i+1].Value
			}
		}
	}
	have := map[string]bool{}
	err = fields(node, func(key string, value *yaml.Node) error {
		have[key] = true
		if err := e.set(key, value); err != nil {
			return fmt.Errorf("%.40s: %w", key, err)
		}
		return nil
	})
	sees := slices.Contains(e.may, View) || slices.Contains(e.may, Manage)
	switch {
	case err != nil:
	case !have["name"]:
		err = errors.New("name: is not there")
	case !have["sha256"]:
		err = errors.New("sha256: is not there")
	case !have["may"]:
		err = errors.New("may: is not there: some of view, predict, status, manage")
	case sees && len(e.sources) == 0:
		err = errors.New(`sources: who may view or manage needs some, as ["cam*"], or ["*"] for all`)
	}
	return e, err
}

// set takes one field. What is wrong is not quoted where it could be a token.
func (e *entry) set(key string, value *yaml.Node) error {
	switch key {
	case "name":
		if value.Kind != yaml.ScalarNode || !nameText.MatchString(value.Value) {
			return errors.New("want 1 to 32 of a-z, 0-9 and -")
		}
	case "sha256":
		sum, err := hex.DecodeString(value.Value)
		if value.Kind != yaml.ScalarNode || err != nil || len(sum) != len(e.sum) {
			return errors.New("want the SHA-256 of the token as 64 hexadecimal digits, not the token")
		}
		copy(e.sum[:], sum)
	case "sources":
		return texts(value, mostSources, func(text string) error {
			if _, err := path.Match(text, ""); err != nil || flow.ValidToken("", strings.ReplaceAll(text, "*", "_")) != nil {
				return errors.New("a pattern is a source's name, in which * stands for any part")
			}
			e.sources = append(e.sources, text)
			return nil
		})
	case "may":
		return texts(value, len(Rights), func(text string) error {
			if !slices.Contains(Rights, Right(text)) {
				return errors.New("there are view, predict, status and manage")
			}
			e.may = append(e.may, Right(text))
			return nil
		})
	case "expires":
		at, err := ParseExpiry(value.Value)
		if value.Kind != yaml.ScalarNode || err != nil {
			return errors.New("want a day, as 2027-01-31, or a time, as 2027-01-31T12:00:00Z")
		}
		e.expires = at
	case "rate":
		perSecond, err := strconv.ParseFloat(value.Value, 64)
		if value.Kind != yaml.ScalarNode || err != nil || !(perSecond >= leastRate && perSecond <= mostRate) {
			return fmt.Errorf("want requests a second, %g to %.0f", leastRate, mostRate)
		}
		e.rate = perSecond
	default:
		return errors.New("is no field: there are name, sha256, sources, may, expires and rate")
	}
	return nil
}

// texts hands on a list of words, each of which is there once.
func texts(node *yaml.Node, most int, take func(text string) error) error {
	if node.Kind != yaml.SequenceNode || len(node.Content) > most {
		return fmt.Errorf("want a list of at most %d", most)
	}
	seen := map[string]bool{}
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode || seen[item.Value] {
			return errors.New("want a list of words, each once")
		}
		seen[item.Value] = true
		if err := take(item.Value); err != nil {
			return err
		}
	}
	return nil
}

// ParseExpiry reads when a token expires: at a time (RFC 3339), or at the end of a day, in UTC.
func ParseExpiry(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Year() < 1970 || at.Year() > math.MaxInt16 {
		return time.Time{}, fmt.Errorf("%w: %.40q is neither a day nor a time", ErrFile, text)
	}
	return at.UTC(), nil
}
