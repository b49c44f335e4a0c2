package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// images are the stages of the Dockerfile that are shipped.
var images = []string{"static", "vision", "vision-cuda", "standalone"}

// carried is what the images carry and build/audit/carried.txt does not name, and what it names and nothing carries.
func carried(dir string) ([]error, error) {
	const file = "build/audit/carried.txt"
	rows, err := table(filepath.Join(dir, file), 4)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, row := range rows {
		named[row[0]+" "+row[1]] = true
	}
	dockerfile, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	found, err := contents(string(dockerfile))
	if err != nil {
		return nil, fmt.Errorf("the Dockerfile: %w", err)
	}
	pip, err := pipPins(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range pip {
		for _, set := range []string{"onnxruntime", "cuda", "tensorrt"} {
			if slices.Contains(p.sets, set) {
				found["pip "+p.name] = true
			}
		}
	}
	npm, err := table(filepath.Join(dir, "build/pins/npm.txt"), 5)
	if err != nil {
		return nil, err
	}
	for _, row := range npm {
		found["npm "+row[1]] = true
	}
	var wrong []error
	for _, what := range slices.Sorted(maps.Keys(found)) {
		if !named[what] {
			wrong = append(wrong, fmt.Errorf("%s %w: %s does not name it", what, errNoLicence, file))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(named)) {
		if !found[what] {
			wrong = append(wrong, fmt.Errorf("%s: %s names it, and nothing carries it", what, file))
		}
	}
	return wrong, nil
}

var (
	from    = regexp.MustCompile(`^FROM (?:--\S+ )*(\S+)(?: AS (\S+))?$`)
	copying = regexp.MustCompile(`^COPY (?:--from=(\S+) )?(.+) \S+$`)
	install = regexp.MustCompile(`apt-get (?:-o \S+ )*install ([^;&]*)`)
)

// contents is what the shipped stages of a Dockerfile carry: packages of Debian ("apt NAME"), what other stages made ("stage
// NAME") and files of the repository ("file NAME").
func contents(dockerfile string) (map[string]bool, error) {
	parent, lines := map[string]string{}, map[string][]string{}
	stage := ""
	for line := range strings.SplitSeq(strings.ReplaceAll(dockerfile, "\\\n", " "), "\n") {
		if m := from.FindStringSubmatch(line); m != nil {
			stage = m[2]
			parent[stage] = m[1]
		} else if line != "" && line[0] != '#' {
			lines[stage] = append(lines[stage], line)
		}
	}
	found := map[string]bool{}
	for _, image := range images {
		if _, ok := parent[image]; !ok {
			return nil, fmt.Errorf("there is no stage %s", image)
		}
		for stage := image; stage != ""; stage = parent[stage] {
			for _, line := range lines[stage] {
				for _, m := range install.FindAllStringSubmatch(line, -1) {
					for _, word := range strings.Fields(m[1]) {
						if word[0] != '-' {
							found["apt "+word] = true
						}
					}
				}
				m := copying.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				if m[1] == "" {
					for _, name := range strings.Fields(m[2]) {
						found["file "+name] = true
					}
					continue
				}
				for _, made := range makers(m[1], lines) {
					found["stage "+made] = true
				}
			}
		}
	}
	return found, nil
}

// makers are the stages whose work a stage hands on: all those that the stage native gathers, else the stage itself.
func makers(stage string, lines map[string][]string) []string {
	if stage != "native" {
		return []string{stage}
	}
	var found []string
	for _, line := range lines[stage] {
		if m := copying.FindStringSubmatch(line); m != nil && m[1] != "" {
			found = append(found, m[1])
		}
	}
	return found
}
