package detect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Ultralytics writes its metadata as Python's str() of a value. Bounds of what is read of it:
const (
	maxLiteral = 1 << 20 // bytes
	maxNesting = 8
)

// ErrLiteral is returned when text is no Python literal of the kinds that are read.
var ErrLiteral = errors.New("bad Python literal")

// ParseLiteral reads a Python literal: None (nil), True, False, an int (int), a float (float64), a string, a list or
// tuple ([]any), or a dict (map[any]any with keys that are strings or ints).
func ParseLiteral(text string) (any, error) {
	if len(text) > maxLiteral {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrLiteral, len(text), maxLiteral)
	}
	p := &literal{rest: text}
	value, err := p.value(0)
	if err == nil && p.space() != "" {
		err = errors.New("something follows")
	}
	if err != nil {
		return nil, fmt.Errorf("%w at byte %d: %w", ErrLiteral, len(text)-len(p.rest), err)
	}
	return value, nil
}

type literal struct{ rest string }

// space skips white space and returns what is left.
func (p *literal) space() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	return p.rest
}

// take skips white space and then token, when that comes next.
func (p *literal) take(token string) bool {
	rest, ok := strings.CutPrefix(p.space(), token)
	p.rest = rest
	return ok
}

func (p *literal) value(depth int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	}
	switch rest := p.space(); {
	case rest == "":
		return nil, errors.New("it ends too early")
	case rest[0] == '\'' || rest[0] == '"':
		return p.text()
	case p.take("None"):
		return nil, nil
	case p.take("True"):
		return true, nil
	case p.take("False"):
		return false, nil
	case p.take("["):
		return p.list("]", depth)
	case p.take("("):
		return p.list(")", depth)
	case p.take("{"):
		return p.dict(depth)
	}
	return p.number()
}

func (p *literal) number() (any, error) {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !strings.ContainsRune("+-.0123456789eE", r) })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	if n, err := strconv.Atoi(word); err == nil {
		p.rest = p.rest[end:]
		return n, nil
	}
	f, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return nil, errors.New("no value")
	}
	p.rest = p.rest[end:]
	return f, nil
}

func (p *literal) list(closing string, depth int) (any, error) {
	list := []any{}
	for !p.take(closing) {
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
		if !p.take(",") && !strings.HasPrefix(p.rest, closing) {
			return nil, fmt.Errorf("neither comma nor %s after a value", closing)
		}
	}
	return list, nil
}

func (p *literal) dict(depth int) (any, error) {
	dict := map[any]any{}
	for !p.take("}") {
		key, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		switch key.(type) {
		case string, int:
		default:
			return nil, errors.New("a key that is neither string nor int")
		}
		if !p.take(":") {
			return nil, errors.New("no colon after a key")
		}
		if dict[key], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if !p.take(",") && !strings.HasPrefix(p.rest, "}") {
			return nil, errors.New("neither comma nor } after a value")
		}
	}
	return dict, nil
}

// escapes with one letter: https://docs.python.org/3/reference/lexical_analysis.html#escape-sequences
const escapes = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v"

func (p *literal) text() (any, error) {
	quote := p.rest[0]
	p.rest = p.rest[1:]
	var out strings.Builder
	for p.rest != "" {
		c := p.rest[0]
		switch {
		case c == quote:
			p.rest = p.rest[1:]
			return out.String(), nil
		case c != '\\':
			_, size := utf8.DecodeRuneInString(p.rest)
			out.WriteString(p.rest[:size])
			p.rest = p.rest[size:]
		default:
			if err := p.escape(&out); err != nil {
				return nil, err
			}
		}
	}
	return nil, errors.New("a string without end")
}

func (p *literal) escape(out *strings.Builder) error {
	if len(p.rest) < 2 {
		return errors.New("a string without end")
	}
	letter := p.rest[1]
	for i := 0; i < len(escapes); i += 2 {
		if escapes[i] == letter {
			out.WriteByte(escapes[i+1])
			p.rest = p.rest[2:]
			return nil
		}
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[letter]
	if digits == 0 || len(p.rest) < 2+digits {
		return fmt.Errorf("escape \\%c", letter)
	}
	code, err := strconv.ParseUint(p.rest[2:2+digits], 16, 32)
	if err != nil || code > utf8.MaxRune {
		return fmt.Errorf("escape \\%c%s", letter, p.rest[2:2+digits])
	}
	out.WriteRune(rune(code))
	p.rest = p.rest[2+digits:]
	return nil
}
