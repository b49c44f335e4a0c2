package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	root   = "github.com/spatial-flow/spatial-flow/"
	golang = "Go and its library"
)

// module is one that a program is made of, with the folders of those of its packages that are built.
type module struct {
	path, version, dir string
	folders            map[string]bool
}

func (m module) String() string { return strings.TrimSpace(m.path + " " + m.version) }

// packages are the modules behind programs, without our own, as go with these further settings of its environment builds them;
// Go's own library is one.
func packages(dir string, patterns, environment []string) ([]module, error) {
	list := exec.Command("go", slices.Concat([]string{"list", "-e", "-deps", "-tags", os.Getenv("TAGS"), "-json=Dir,Standard,Module"}, patterns)...)
	list.Dir, list.Stderr, list.Env = dir, os.Stderr, append(append(os.Environ(), "GOWORK="), environment...)
	output, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	found := map[string]module{}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Replace            *struct{ Path, Version, Dir string }
			}
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if p.Module == nil && !p.Standard { // -e lets what only another build has go by
			return nil, fmt.Errorf("go list: %s is of no module that is there", p.Dir)
		}
		if p.Standard || strings.HasPrefix(p.Module.Path+"/", root) {
			continue
		}
		m, ok := found[p.Module.Path]
		if !ok {
			m = module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir, folders: map[string]bool{}}
			found[m.path] = m
		}
		for folder := p.Dir; strings.HasPrefix(folder, m.dir); folder = filepath.Dir(folder) {
			m.folders[folder] = true
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	place, version, _ := strings.Cut(strings.TrimSpace(string(goroot)), "\n")
	found[""] = module{path: golang, version: version, dir: place, folders: map[string]bool{place: true}}
	return slices.SortedFunc(maps.Values(found), func(a, b module) int { return strings.Compare(a.path, b.path) }), nil
}

var (
	licenceFile = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|patents)(\.|$)`)
)

// texts are the files of a module whose names match, from its root down to the packages that are built.
func texts(m module, name *regexp.Regexp) ([]string, error) {
	var found []string
	for folder := range m.folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if name.MatchString(entry.Name()) && entry.Type().IsRegular() && filepath.Ext(entry.Name()) != ".go" {
				found = append(found, filepath.Join(folder, entry.Name()))
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

// reviewed is what somebody read and allowed: the licences of a text, in SPDX with _AND_ between them, by its SHA-256.
func reviewed(dir string) (map[string]string, error) {
	rows, err := table(filepath.Join(dir, "build", "audit", "reviewed.txt"), 3)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, row := range rows {
		found[row[0]] = row[1]
	}
	return found, nil
}

// table is the rows of a file of columns with blanks between them; the last column may hold blanks. # begins a comment.
func table(path string, columns int) ([][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for number, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < columns {
			return nil, fmt.Errorf("%s, line %d: %d columns, want %d", path, number+1, len(fields), columns)
		}
		rows = append(rows, append(fields[:columns-1:columns-1], strings.Join(fields[columns-1:], " ")))
	}
	return rows, nil
}

// judge is the licences of a module. [errNoLicence], [errUnknown] or [errNotAllowed] is returned when it may not be shipped.
func judge(m module, apache string, reviewed map[string]string) (string, error) {
	files, err := texts(m, licenceFile)
	if err != nil {
		return "", fmt.Errorf("%v: %w", m, err)
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%v %w", m, errNoLicence)
	}
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("%v: %w", m, err)
		}
		name, _ := filepath.Rel(m.dir, file)
		sum := fmt.Sprintf("%x", sha256.Sum256(text))
		if licence, ok := reviewed[sum]; ok {
			found = append(found, strings.Split(licence, "_AND_")...)
			continue
		}
		names, err := recognise(string(text), apache)
		if err != nil {
			return "", fmt.Errorf("%v: %s (SHA-256 %s) %w", m, name, sum, err)
		}
		for _, name := range names {
			if !allowed[name] {
				return "", fmt.Errorf("%v %w: %s", m, errNotAllowed, name)
			}
		}
		found = append(found, names...)
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " AND "), nil
}
