package producer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/flow/service"
)

func TestSourceFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sources")
	write := func(text string) Config {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var cfg Config
		if err := service.Defaults(&cfg); err != nil {
			t.Fatal(err)
		}
		cfg.Sources, cfg.SourceFile = []string{"first=street:"}, path
		return cfg
	}
	cfg := write("\ufeff# cameras\n\nyard=rtsp://u:secret@10.0.0.7/s#fps=10\r\n  door=rtsp://u:secret@10.0.0.8/s\n")
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	specs, err := cfg.specs()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range specs {
		got = append(got, s.Name+" "+s.URI)
	}
	if diff := cmp.Diff([]string{"first street:", "yard rtsp://10.0.0.7/s", "door rtsp://10.0.0.8/s"}, got); diff != "" {
		t.Error(diff)
	}
	if live := cfg.LiveSources(); len(live) != 3 {
		t.Errorf("live are %q", live)
	}
	cfg.Sources, cfg.SourceFile = []string{""}, ""
	if specs, err := cfg.specs(); err != nil || len(specs) > 0 {
		t.Errorf("SPATIALFLOW_SOURCE= is %d sources, %v", len(specs), err)
	}
	for name, text := range map[string]string{
		"nothing":   "# secret\n\n",
		"too large": strings.Repeat("# secret\n", maxSourceFile/8),
	} {
		if err := write(text).Validate(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		text    string
		line    string
		refused int
	}{
		"a name twice":        {"first=rtsp://u:secret@h/s\n", "line 1", 1},
		"too many":            {strings.Repeat("rtsp://u:secret@h/s\n", MaxSources), "line 64", 1},
		"what is no camera":   {"\n\nrtmp://u:secret@h/s\ngood=rtsp://h/s\n", "line 3", 1},
		"a blank in the name": {"good=rtsp://h/s\nback yard=rtsp://u:secret@10.0.0.7/s\n", "line 2", 1},
		"no such variable":    {"rtsp://u:${NO_SUCH_VARIABLE}secret@h/s\n", "line 1", 1},
		"two of them":         {"rtsp//u:secret@h/s\n#\nrtsp:/u:secret@h/s\n", "line 1", 2},
	} {
		cfg := write(test.text)
		t0, err := cfg.sources()
		if err != nil || len(t0.refused) != test.refused {
			t.Fatalf("%s: %v, refused %v", name, err, t0.refused)
		}
		if says := t0.refused[0].Error(); !strings.Contains(says, path+", "+test.line) || strings.Contains(says, "secret") {
			t.Errorf("%s: %s", name, says)
		}
		cfg.ExitWhenDone = true
		if err := cfg.Validate(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s, all of it to be done: %v", name, err)
		}
		cfg.Sources, cfg.ExitWhenDone = nil, false
		if err := cfg.Validate(); (err == nil) != (len(t0.specs) > 1 || name == "a name twice") {
			t.Errorf("%s, and nothing else: %v", name, err)
		}
	}
	cfg.SourceFile = filepath.Join(t.TempDir(), "none")
	if err := cfg.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--source-file") {
		t.Errorf("no file: %v", err)
	}
}
