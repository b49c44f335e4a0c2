package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes files into a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func apache(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const mit = `The MIT License (MIT)

Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
`

func TestRecognise(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text, want string
	}{
		"MIT":                             {mit, "MIT"},
		"Apache":                          {apache(t), "Apache-2.0"},
		"both":                            {mit + apache(t), "Apache-2.0 MIT"},
		"a further condition":             {mit + "\nThe Software shall be used for Good, not Evil.\n", ""},
		"Commons Clause":                  {apache(t) + "\n\"Commons Clause\" License Condition v1.0\n", ""},
		"a changed word":                  {strings.Replace(mit, "without restriction", "with restriction", 1), ""},
		"a cut one":                       {mit[:800], ""},
		"none":                            {"", ""},
		"a title alone":                   {"MIT License", ""},
		"the GPL":                         {"GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n", ""},
		"a condition in a copyright line": {strings.Replace(mit, "Somebody", "Somebody, who forbids\nany use for money", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := recognise(test.text, apache(t))
			if strings.Join(got, " ") != test.want || (err == nil) != (test.want != "") {
				t.Errorf("recognised %v, error %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestAModuleThatMayNotBeShipped(t *testing.T) {
	t.Parallel()
	isc := "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"
	for name, test := range map[string]struct {
		files map[string]string
		want  error
	}{
		"allowed":                            {map[string]string{"LICENSE": mit, "a/a.go": ""}, nil},
		"no licence":                         {map[string]string{"README.md": mit, "a/a.go": ""}, errNoLicence},
		"a file of code is no licence":       {map[string]string{"license.go": mit, "a/a.go": ""}, errNoLicence},
		"the GPL":                            {map[string]string{"COPYING": "GNU GENERAL PUBLIC LICENSE Version 3", "a/a.go": ""}, errUnknown},
		"the GPL beside MIT":                 {map[string]string{"LICENSE": mit, "LICENSE-GPL": "GNU GENERAL PUBLIC LICENSE", "a/a.go": ""}, errUnknown},
		"another one in a folder":            {map[string]string{"LICENSE": mit, "a/LICENSE": isc, "a/a.go": ""}, errUnknown},
		"another in one that nobody imports": {map[string]string{"LICENSE": mit, "b/LICENSE": isc, "a/a.go": ""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, test.files)
			m := module{path: "example.org/m", version: "v1.0.0", dir: dir, folders: map[string]bool{dir: true, filepath.Join(dir, "a"): true}}
			if licence, err := judge(m, apache(t), nil); !errors.Is(err, test.want) {
				t.Errorf("licence %q, error %v; want %v", licence, err, test.want)
			} else if test.want == nil && licence != "MIT" {
				t.Errorf("licence %q, want MIT", licence)
			}
		})
	}
}

// A whole workspace: a program whose dependency has a licence that is not allowed, or none, is named.
func TestLicencesOfAWorkspace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file, text string
		want       error
	}{
		"allowed":     {"dep/LICENSE", mit, nil},
		"not allowed": {"dep/LICENSE", "GNU AFFERO GENERAL PUBLIC LICENSE Version 3", errUnknown},
		"none":        {"dep/README", "", errNoLicence},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, map[string]string{
				"go.work":                  "go 1.26.0\n\nuse ./m\n",
				"m/go.mod":                 "module github.com/spatial-flow/spatial-flow/m\n\ngo 1.26.0\n\nrequire example.org/dep v0.0.0\n\nreplace example.org/dep => ../dep\n",
				"m/main.go":                "package main\n\nimport _ \"example.org/dep\"\n\nfunc main() {}\n",
				"dep/go.mod":               "module example.org/dep\n\ngo 1.26.0\n",
				"dep/dep.go":               "package dep\n",
				test.file:                  test.text,
				"LICENSE":                  apache(t),
				"Dockerfile":               "FROM scratch AS static\nFROM static AS vision\nFROM static AS vision-cuda\nFROM static AS standalone\n",
				"build/audit/reviewed.txt": "",
				"build/audit/carried.txt":  "",
				"build/pins/pip.txt":       "",
				"build/pins/npm.txt":       "",
			})
			var out strings.Builder
			if err := licences(dir, &out); !errors.Is(err, test.want) || test.want != nil && !strings.Contains(err.Error(), "example.org/dep") {
				t.Errorf("error %v, want %v of example.org/dep", err, test.want)
			}
			if got := strings.Contains(out.String(), "example.org/dep"); got != (test.want == nil) {
				t.Errorf("it said\n%s", out.String())
			}
			var text strings.Builder
			if err := notices(dir, []string{"github.com/spatial-flow/spatial-flow/m"}, &text); errors.Is(test.want, errNoLicence) != (err != nil) {
				t.Errorf("notices: %v", err)
			} else if err == nil && !(strings.Contains(text.String(), test.text) && strings.Contains(text.String(), "example.org/dep v0.0.0: LICENSE")) {
				t.Errorf("notices are without its licence:\n%.500s", text.String())
			}
		})
	}
}

func TestContentsOfImages(t *testing.T) {
	t.Parallel()
	const dockerfile = `FROM debian AS base
RUN apt-get install -y not-in-an-image
FROM base AS native
COPY --from=ffmpeg /out/ /built/
FROM scratch AS static
COPY --from=go /out/ /usr/local/bin/
FROM debian AS libraries
RUN apt-get -o A=b update; \
    apt-get -o A=b install -y --no-install-recommends \
      one two; \
    rm -rf /var
COPY --from=native /out/ /
FROM libraries AS vision
COPY models/*.onnx /models/
FROM vision AS vision-cuda
FROM vision AS standalone
`
	got, err := contents(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"apt one", "apt two", "stage ffmpeg", "stage go", "file models/*.onnx"}
	for _, what := range want {
		if !got[what] {
			t.Errorf("%s is not found in %v", what, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestAVersionElsewhere(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"pip install onnx==1.2.3":                           true,
		"pip install -q onnx":                               true,
		"python3 -m pip install --target x -r file.txt":     false,
		"go run honnef.co/go/tools/cmd/staticcheck@v0.8.2":  true,
		"go install example.org/tool@latest":                true,
		"npm pack --ignore-scripts axe-core@4.14.1":         true,
		"https://" + "pypi" + ".org/simple":                 true,
		"rtsp://user:secret@10.0.0.7/a":                     false,
		"uses: actions/checkout@de0fac2e4500dabe0009e67214": false,
		"if count==10 {":                                    false,
	} {
		if got := unpinned("build/x.sh", line); (len(got) > 0) != want {
			t.Errorf("%q: %q, want a finding: %v", line, got, want)
		}
	}
	if got := unpinned("README.md", "pip install ultralytics"); got != nil {
		t.Errorf("a reader may not install what they like: %q", got)
	}
}
