// Package reference makes a page for people out of an OpenAPI document, without a script: it is made once, and links only to
// itself.
package reference

import (
	"bytes"
	_ "embed" // page.html and page.css
	"fmt"
	"html/template"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed page.html
var page string

// CSS is what the page looks like; it lies beside the page, as reference.css.
//
//go:embed page.css
var CSS []byte

// document is what of OpenAPI 3.1 is shown.
type document struct {
	Info struct {
		Title, Version, Description string
	}
	Servers    []struct{ URL string }
	Paths      mapping[pathItem]
	Components struct {
		Parameters mapping[parameter]
		Responses  mapping[response]
		Schemas    mapping[schema]
	}
}

// pathItem is the operations of a path, each with the parameters that all of them have.
type pathItem mapping[operation]

func (p *pathItem) UnmarshalYAML(node *yaml.Node) error {
	var shared struct{ Parameters []parameter }
	if err := node.Decode(&shared); err != nil {
		return err
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i].Value
		if !slices.Contains([]string{"get", "put", "post", "delete", "patch"}, key) {
			continue
		}
		one := pair[operation]{Key: key}
		if err := node.Content[i+1].Decode(&one.Value); err != nil {
			return err
		}
		one.Value.Parameters = append(slices.Clone(shared.Parameters), one.Value.Parameters...)
		*p = append(*p, one)
	}
	return nil
}

type operation struct {
	Summary, Description string
	Parameters           []parameter
	RequestBody          struct {
		Description string
		Content     mapping[content]
	} `yaml:"requestBody"`
	Responses mapping[response]
}

type parameter struct {
	Ref               string `yaml:"$ref"`
	Name, In          string
	Description       string
	Required          bool
	Schema            schema
	Example, Examples any
}

type response struct {
	Ref         string `yaml:"$ref"`
	Description string
	Headers     mapping[parameter]
	Content     mapping[content]
}

type content struct{ Schema schema }

type schema struct {
	Ref                   string `yaml:"$ref"`
	Type                  any    // a word or several
	Description, Format   string
	Enum                  []any
	Const, Default        any
	Minimum, Maximum      any
	Pattern               string
	Items                 *schema
	AnyOf                 []schema `yaml:"anyOf"`
	AllOf                 []schema `yaml:"allOf"`
	Properties            mapping[schema]
	Required              []string
	MinItems              any `yaml:"minItems"`
	MaxItems              any `yaml:"maxItems"`
	ContentMedia          any `yaml:"contentMediaType"`
	ContentEncoding       any `yaml:"contentEncoding"`
	AdditionalProperties  any `yaml:"additionalProperties"`
	Examples, Example     any
	MinLength, MaxLength  any
	UnevaluatedProperties any
}

// mapping keeps the order of its keys.
type mapping[T any] []pair[T]

type pair[T any] struct {
	Key   string
	Value T
}

func (m *mapping[T]) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: no mapping", node.Line)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		one := pair[T]{Key: node.Content[i].Value}
		if err := node.Content[i+1].Decode(&one.Value); err != nil {
			return err
		}
		*m = append(*m, one)
	}
	return nil
}

func (m mapping[T]) find(key string) (value T, ok bool) {
	i := slices.IndexFunc(m, func(p pair[T]) bool { return p.Key == key })
	if i < 0 {
		return value, false
	}
	return m[i].Value, true
}

// Page is the page. An error is returned when the document can't be read, or refers to what it does not have.
func Page(openAPI []byte) ([]byte, error) {
	var d document
	if err := yaml.Unmarshal(openAPI, &d); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	parsed, err := template.New("page").Funcs(template.FuncMap{
		"anchor": anchor, "type": typeOf, "parameter": d.parameter, "response": d.response, "has": slices.Contains[[]string],
	}).Parse(page)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, d); err != nil {
		return nil, fmt.Errorf("make the page of an OpenAPI document: %w", err)
	}
	return out.Bytes(), nil
}

func (d document) parameter(p parameter) (parameter, error) {
	return resolve(p, p.Ref, d.Components.Parameters)
}

func (d document) response(r response) (response, error) {
	return resolve(r, r.Ref, d.Components.Responses)
}

func resolve[T any](value T, ref string, among mapping[T]) (T, error) {
	if ref == "" {
		return value, nil
	}
	found, ok := among.find(name(ref))
	if !ok {
		return found, fmt.Errorf("there is no %s", ref)
	}
	return found, nil
}

func name(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// anchor is the name of a place in the page.
func anchor(method, path string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, method+path), "-")
}

// typeOf is what a value is, in words and links.
func typeOf(s schema) template.HTML {
	escape := template.HTMLEscapeString
	text := ""
	switch {
	case s.Ref != "":
		text = fmt.Sprintf(`<a href="#schema-%[1]s">%[1]s</a>`, escape(name(s.Ref)))
	case len(s.AnyOf) > 0:
		var all []string
		for _, one := range s.AnyOf {
			all = append(all, string(typeOf(one)))
		}
		text = strings.Join(all, " or ")
	case s.Items != nil:
		text = "array of " + string(typeOf(*s.Items))
	default:
		switch types := s.Type.(type) {
		case string:
			text = escape(types)
		case []any:
			words := make([]string, len(types))
			for i, word := range types {
				words[i] = escape(fmt.Sprint(word))
			}
			text = strings.Join(words, " or ")
		}
		if s.Format != "" {
			text += " (" + escape(s.Format) + ")"
		}
	}
	switch {
	case s.Const != nil:
		text += ": <code>" + escape(fmt.Sprint(s.Const)) + "</code>"
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, word := range s.Enum {
			words[i] = "<code>" + escape(fmt.Sprint(word)) + "</code>"
		}
		text += ": " + strings.Join(words, ", ")
	}
	if s.Minimum != nil && s.Maximum != nil {
		text += fmt.Sprintf(", %v to %v", s.Minimum, s.Maximum)
	} else if s.Minimum != nil {
		text += fmt.Sprintf(", from %v", s.Minimum)
	}
	if s.Default != nil {
		text += ", else <code>" + escape(fmt.Sprint(s.Default)) + "</code>"
	}
	return template.HTML(text)
}
