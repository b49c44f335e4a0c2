package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// pin is a version of a package that build/pins names, with the number of its hashes and the sets that it belongs to.
type pin struct {
	name, version string
	hashes        int
	sets          []string
}

var requirement = regexp.MustCompile(`^([A-Za-z0-9._-]+)==(\S+)`)

// pipPins are those of build/pins/pip.txt.
func pipPins(dir string) ([]pin, error) {
	text, err := os.ReadFile(filepath.Join(dir, "build/pins/pip.txt"))
	if err != nil {
		return nil, err
	}
	var found []pin
	var sets []string
	for line := range strings.SplitSeq(string(text), "\n") {
		if names, ok := strings.CutPrefix(line, "# for: "); ok {
			sets = strings.Fields(names)
		} else if m := requirement.FindStringSubmatch(line); m != nil {
			found = append(found, pin{name: m[1], version: m[2], sets: sets})
		}
		if len(found) > 0 {
			found[len(found)-1].hashes += strings.Count(line, "--hash=sha256:")
		}
	}
	return found, nil
}

// elsewhere is how a version is named in a file that is not to name one.
var elsewhere = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a package of PyPI, which belongs into build/pins/pip.txt", regexp.MustCompile(`\b[A-Za-z][\w.-]*(?:\[\w+\])?==\d+\.\d[\w.]*`)},
	{"a tool in Go, which belongs into build/pins/go.txt", regexp.MustCompile(`\b[a-z0-9-]+(?:\.[a-z0-9-]+)+/[\w./-]+@(?:v\d[\w.-]*|latest)`)},
	{"a package of npm, which belongs into build/pins/npm.txt", regexp.MustCompile(`\bnp[mx] .*[\w/-]@\d+(?:\.\d+)*`)},
	{"a package to install without its pin", regexp.MustCompile(`\bpip(?:3|"|')? (?:install|download)(?: -{1,2}[a-z][\w=.:/-]*)* "?[a-z][\w-]*"?(?: |$)`)},
	{"the host of a registry, which the settings of whoever builds name", regexp.MustCompile(`registry\.npmjs|pypi\.org|pythonhosted|proxy\.golang`)},
}

// sayTheSame are versions that several files must name, each for a reader of its own; where they differ is an error.
var sayTheSame = []*regexp.Regexp{
	regexp.MustCompile(`uses: (\S+)@([0-9a-f]{40})`),
	regexp.MustCompile(`(?:container: |GO_IMAGE=)(golang):(\S+)`),
	regexp.MustCompile(`(go-version): "(\S+)"`),
	regexp.MustCompile(`(?:image: |docker pull )"?((?:[\w.-]+/)*(?:nats|busybox|prometheus|grafana|prometheus-nats-exporter)):([\w.-]+)`),
	regexp.MustCompile(`\b(onnxruntime)==(\d\S*)`),
}

// pins fails for a pin without a hash, for one that is there twice, and for files besides build/pins that name a version.
func pins(dir string, out io.Writer) error {
	var wrong []error
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	pip, err := pipPins(dir)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range pip {
		for _, set := range p.sets {
			if seen[set+" "+p.name] {
				complain("build/pins/pip.txt: %s is in the set %s twice", p.name, set)
			}
			seen[set+" "+p.name] = true
		}
		if p.hashes == 0 && !slices.Equal(p.sets, []string{"tensorrt"}) {
			complain("build/pins/pip.txt: %s has no hash", p.name)
		}
	}
	for _, file := range []struct {
		name    string
		columns int
	}{{"go.txt", 5}, {"npm.txt", 5}} {
		rows, err := table(filepath.Join(dir, "build/pins", file.name), file.columns)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if seen[file.name+" "+row[0]] {
				complain("build/pins/%s: %s is there twice", file.name, row[0])
			}
			seen[file.name+" "+row[0]] = true
		}
	}

	list := exec.Command("git", "ls-files", "-z")
	list.Dir = dir
	tracked, err := list.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	same := map[string]map[string]string{} // what, version, the first file
	for name := range strings.SplitSeq(strings.TrimSuffix(string(tracked), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed
		} else if err != nil {
			return err
		}
		for _, found := range unpinned(name, string(text)) {
			complain("%s", found)
		}
		for what, version := range repeated(name, string(text)) {
			if same[what] == nil {
				same[what] = map[string]string{}
			}
			if same[what][version] == "" {
				same[what][version] = name
			}
		}
	}
	for _, what := range slices.Sorted(maps.Keys(same)) {
		if len(same[what]) > 1 {
			complain("%s has several versions: %v", what, same[what])
		}
	}
	if len(wrong) == 0 {
		fmt.Fprintf(out, "%d packages of PyPI and all tools are pinned in build/pins, and nowhere else\n", len(pip))
	}
	return errors.Join(wrong...)
}

// unpinned are the lines of a file that name a version, or a registry.
func unpinned(name, text string) []string {
	switch base := path.Base(name); {
	case strings.Contains(text, "\x00"), base == "go.mod", base == "go.sum", base == "go.work.sum",
		strings.HasPrefix(name, "build/audit/"): // which names what it looks for
		return nil
	}
	var found []string
	for number, line := range strings.Split(text, "\n") {
		for i, e := range elsewhere {
			switch {
			case i < 3 && (strings.HasPrefix(name, "build/pins/") || name == "examples/python/requirements.txt"),
				i == 3 && (path.Ext(name) == ".md" || strings.Contains(line, " -r ")): // what a reader may install is not ours
				continue
			}
			if m := e.pattern.FindString(line); m != "" {
				found = append(found, fmt.Sprintf("%s, line %d: %q names %s", name, number+1, strings.TrimSpace(m), e.what))
			}
		}
	}
	return found
}

// repeated are the versions in a file that other files may name too, by what they are of.
func repeated(name, text string) map[string]string {
	found := map[string]string{}
	if strings.Contains(text, "\x00") || strings.HasPrefix(name, "build/audit/") {
		return nil
	}
	for _, pattern := range sayTheSame {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			if version, ok := found[m[1]]; ok && version != m[2] {
				version += " and " + m[2]
				m[2] = version
			}
			found[m[1]] = m[2]
		}
	}
	if m := regexp.MustCompile(`(?m)^const Version = "(\S+)"`).FindStringSubmatch(text); m != nil && name == "workers/engine/library.go" {
		found["onnxruntime"] = m[1]
	}
	if m := regexp.MustCompile(`(?m)^ARG GO_IMAGE=golang:(\d+\.\d+)`).FindStringSubmatch(text); m != nil {
		found["go-version"] = m[1]
	}
	return found
}
