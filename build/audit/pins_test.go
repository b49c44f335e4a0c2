package main

import (
	"maps"
	"os/exec"
	"strings"
	"testing"
)

func TestPins(t *testing.T) {
	t.Parallel()
	const hash = " \\\n    --hash=sha256:00\n"
	right := map[string]string{
		"build/pins/pip.txt":      "# for: train models\nonnx==1.2.3" + hash,
		"build/pins/go.txt":       "tool example.org/tool v1.0.0 /cmd/tool h1:0=\n",
		"build/pins/npm.txt":      "axe axe-core 1.0.0 00 package/axe.js\n",
		".github/workflows/a.yml": "- uses: actions/checkout@" + strings.Repeat("a", 40) + "\n",
	}
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"right":                      {nil, ""},
		"two sets, two versions":     {map[string]string{"build/pins/pip.txt": "# for: train\nonnx==1.2.3" + hash + "# for: models\nonnx==1.2.4" + hash}, ""},
		"one set, two versions":      {map[string]string{"build/pins/pip.txt": "# for: train\nonnx==1.2.3" + hash + "# for: train\nonnx==1.2.4" + hash}, "in the set train twice"},
		"no hash":                    {map[string]string{"build/pins/pip.txt": "# for: train\nonnx==1.2.3\n"}, "onnx has no hash"},
		"a tool twice":               {map[string]string{"build/pins/go.txt": "tool example.org/tool v1.0.0 . h1:0=\ntool example.org/tool v1.1.0 . h1:0=\n"}, "tool is there twice"},
		"a tool without its sum":     {map[string]string{"build/pins/go.txt": "tool example.org/tool v1.0.0 .\n"}, "4 columns, want 5"},
		"a version in a script":      {map[string]string{"x.sh": "pip install onnx==1.2.3\n"}, "x.sh, line 1"},
		"an action in two versions":  {map[string]string{".github/workflows/b.yml": "- uses: actions/checkout@" + strings.Repeat("b", 40) + "\n"}, "actions/checkout has several versions"},
		"the library of the program": {map[string]string{"build/pins/pip.txt": "# for: onnxruntime\nonnxruntime==1.2.3" + hash, "workers/engine/library.go": "const Version = \"1.2.4\"\n"}, "onnxruntime has several versions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := maps.Clone(right)
			maps.Copy(files, test.files)
			dir := tree(t, files)
			for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}} {
				git := exec.Command("git", args...)
				git.Dir = dir
				if said, err := git.CombinedOutput(); err != nil {
					t.Fatalf("git %v: %v\n%s", args, err, said)
				}
			}
			err := pins(dir, new(strings.Builder))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
