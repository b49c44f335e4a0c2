package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const bom = `{"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
	"metadata": {"timestamp": "2020-01-01T00:00:00Z", "tools": [{"name": "t", "hashes": [{"alg": "MD5", "content": "00000000000000000000000000000000"}]}],
	"component": {"type": "application", "name": "github.com/spatial-flow/spatial-flow/fuser"}},
	"components": [{"type": "library", "name": "example.org/m", "version": "v1.0.0"}]}`

func TestFill(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		known map[string]string
		want  error
	}{
		"known":           {map[string]string{"example.org/m v1.0.0": "MIT"}, nil},
		"another version": {map[string]string{"example.org/m v1.0.1": "MIT"}, errNoLicence},
		"not known":       {nil, errNoLicence},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var document map[string]any
			if err := json.Unmarshal([]byte(bom), &document); err != nil {
				t.Fatal(err)
			}
			if err := fill(document, test.known, time.Unix(0, 0)); !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if text, _ := json.Marshal(document); test.want == nil && (!strings.Contains(string(text), `"licenses":[{"expression":"MIT"}]`) ||
				!strings.Contains(string(text), `"timestamp":"1970-01-01T00:00:00Z"`) || strings.Contains(string(text), "hashes")) {
				t.Errorf("it is %s", text)
			}
		})
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(bom, `"version": "v1.0.0"`, `"version": "v1.0.0", "licenses": [{"expression": "MIT"}]`, 1)
	for name, test := range map[string]struct {
		text, want string
	}{
		"valid":               {with, ""},
		"no licence":          {bom, "has no licence"},
		"no JSON":             {"{", "bom.json"},
		"not of its schema":   {strings.Replace(with, `"library"`, `"book"`, 1), "/components/0/type"},
		"a word it has not":   {strings.Replace(with, `"bomFormat"`, `"bomForm": 1, "bomFormat"`, 1), "bomForm"},
		"another one's words": {`{"spdxVersion": "SPDX-2.3"}`, "bomFormat"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, map[string]string{"bom.json": test.text})
			err := valid(filepath.Join(cache, "spatial-flow", "cyclonedx"), []string{filepath.Join(dir, "bom.json")}, new(strings.Builder))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
