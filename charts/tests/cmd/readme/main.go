// Command readme writes the tables of values in a chart's README.md from its values.yaml: a row for each key whose
// comment begins with "# --". A value without such a comment is an error.
//
//	readme [--check] CHART
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Between these lines README.md is made, around them it is written.
const (
	begin = "<!-- values: made by make chart-readme -->\n"
	end   = "<!-- values end -->\n"
)

func main() {
	check := flag.Bool("check", false, "write nothing; exit with 1 when README.md is not what would be written")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: readme [--check] CHART")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "readme:", err)
		os.Exit(1)
	}
}

func run(chart string, check bool) error {
	values, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	tables, err := Tables(values)
	if err != nil {
		return fmt.Errorf("values.yaml: %w", err)
	}
	path := filepath.Join(chart, "README.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s has no lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	made := []byte(before + begin + "\n" + tables + "\n" + end + after)
	switch {
	case bytes.Equal(made, old):
		return nil
	case check:
		return fmt.Errorf("%s is not what values.yaml says: make chart-readme", path)
	}
	return os.WriteFile(path, made, 0o644)
}

type row struct{ key, standard, what string }

// Tables is one table for the single values at the top, and one for each of the maps there.
func Tables(values []byte) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return "", err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return "", fmt.Errorf("no map")
	}
	var single []row
	var maps strings.Builder
	for key, value := range pairs(document.Content[0]) {
		rows, err := walk(key.Value, key, value)
		if err != nil {
			return "", err
		}
		if value.Kind != yaml.MappingNode {
			single = append(single, rows...)
			continue
		}
		fmt.Fprintf(&maps, "\n### %s\n", key.Value)
		if about := paragraph(key); about != "" {
			fmt.Fprintf(&maps, "\n%s\n", about)
		}
		maps.WriteString(table(rows))
	}
	return strings.TrimLeft(table(single)+maps.String(), "\n"), nil
}

// pairs are the keys of a map with their values, in the order of the file.
func pairs(node *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if !yield(node.Content[i], node.Content[i+1]) {
				return
			}
		}
	}
}

// walk is a key's own row, or those of what is in it.
func walk(path string, key, value *yaml.Node) ([]row, error) {
	if what := doc(key); what != "" {
		standard, err := show(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return []row{{path, standard, what}}, nil
	}
	if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
		return nil, fmt.Errorf("line %d: %s has no comment that begins with # --", key.Line, path)
	}
	var rows []row
	for key, value := range pairs(value) {
		inner, err := walk(path+"."+key.Value, key, value)
		if err != nil {
			return nil, err
		}
		rows = append(rows, inner...)
	}
	return rows, nil
}

// doc is what the comment says from "# --" on.
func doc(key *yaml.Node) string {
	_, what, found := strings.Cut("\n"+key.HeadComment, "\n# -- ")
	if !found {
		return ""
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(what, "\n#", "\n")), " ")
}

// paragraph is the first one of a comment that documents no value.
func paragraph(key *yaml.Node) string {
	if doc(key) != "" {
		return ""
	}
	comment := key.HeadComment
	if i := strings.LastIndex(comment, "\n\n"); i >= 0 { // what stands alone above
		comment = comment[i+2:]
	}
	first, _, _ := strings.Cut(comment, "\n#\n")
	return strings.Join(strings.Fields(strings.ReplaceAll("\n"+first, "\n#", "\n")), " ")
}

func show(value *yaml.Node) (string, error) {
	var v any
	if err := value.Decode(&v); err != nil {
		return "", err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return strings.TrimSpace(out.String()), err
}

func table(rows []row) string {
	var out strings.Builder
	out.WriteString("\n| value | default | what |\n|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|")
	for _, r := range rows {
		fmt.Fprintf(&out, "| `%s` | `%s` | %s |\n", r.key, cell.Replace(r.standard), cell.Replace(r.what))
	}
	return out.String()
}
