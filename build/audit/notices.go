package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// notices writes the licences and notices of all modules behind programs, each text once.
func notices(dir string, patterns []string, out io.Writer) error {
	modules, err := packages(dir, patterns, nil)
	if err != nil {
		return err
	}
	var order []string
	of := map[string][]string{}
	for _, m := range modules {
		found, err := texts(m, licenceFile)
		if err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
		if len(found) == 0 {
			return fmt.Errorf("%v %w", m, errNoLicence)
		}
		more, err := texts(m, noticeFile)
		if err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
		for _, file := range slices.Concat(found, more) {
			text, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("%v: %w", m, err)
			}
			name, _ := filepath.Rel(m.dir, file)
			key := strings.TrimRight(string(text), "\n")
			if of[key] == nil {
				order = append(order, key)
			}
			of[key] = append(of[key], fmt.Sprintf("%v: %s", m, name))
		}
	}
	const line = "================================================================================"
	fmt.Fprintf(out, "These programs are part of Spatial-Flow, which is under the Apache License, Version 2.0 (LICENSE). Built into\n"+
		"them is the work of others, under the licences that follow.\n")
	for _, text := range order {
		if _, err := fmt.Fprintf(out, "\n%s\n%s\n%s\n\n%s\n", line, strings.Join(of[text], "\n"), line, text); err != nil {
			return err
		}
	}
	return nil
}
