package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builds are the environments that programs are built in: all of them together, so that no module is missed.
var builds = [][]string{
	{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=1"}, {"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=1"},
	{"GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0"}, {"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"},
}

// programs are the import paths of all that is built into a program, in every module of the workspace.
func programs(dir string) ([]string, error) {
	list := exec.Command("go", "list", "-tags", os.Getenv("TAGS"), "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, "work")
	list.Dir, list.Stderr, list.Env = dir, os.Stderr, append(os.Environ(), "GOWORK=")
	output, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return strings.Fields(string(output)), nil
}

// licences writes the licence of each module that a program is made of, and of what else the images carry. What may not be shipped
// is returned, all of it.
func licences(dir string, out io.Writer) error {
	apache, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	if err != nil {
		return err
	}
	read, err := reviewed(dir)
	if err != nil {
		return err
	}
	mains, err := programs(dir)
	if err != nil {
		return err
	}
	var wrong []error
	seen := map[string]bool{}
	for _, build := range builds {
		modules, err := packages(dir, mains, build)
		if err != nil {
			return err
		}
		for _, m := range modules {
			licence, err := judge(m, string(apache), read)
			if line := fmt.Sprintf("%-60s %s\n", m, licence); err == nil && !seen[line] {
				seen[line] = true
				io.WriteString(out, line)
			} else if err != nil && !seen[err.Error()] {
				seen[err.Error()] = true
				wrong = append(wrong, err)
			}
		}
	}
	carried, err := carried(dir)
	if err != nil {
		return err
	}
	return errors.Join(append(wrong, carried...)...)
}
