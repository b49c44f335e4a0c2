package flow_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
)

func TestFileName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.jpg": "a.jpg", "日本 ñ.JPG": "日本 ñ.JPG", "new\nline.jpg": "new\nline.jpg", "100%d %s.jpg": "100%d %s.jpg", "": "",
		"caf\xe9.jpg": "caf%E9.jpg", "100%\xe9\xff.jpg": "100%25%E9%FF.jpg", "\uFFFD.jpg": "\uFFFD.jpg",
		strings.Repeat("ñ", 1000): strings.Repeat("ñ", 510) + "…",
	} {
		got := flow.FileName(name)
		if got != want || !utf8.ValidString(got) || len(got) > flow.MaxFile {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if back, err := url.PathUnescape(got); !utf8.ValidString(name) && (err != nil || back != name) {
			t.Errorf("%q: %q is unescaped to %q, %v", name, got, back, err)
		}
	}
}

// A scene says which file it is of: in messages, which those who don't know the key read all the same, and in JSON.
func TestFileOfAScene(t *testing.T) {
	t.Parallel()
	scene := &flow.Scene{
		Version: 2, Source: "a", Session: "s", Seq: 1, Mode: flow.ModeLossless, Plan: []string{"detect"}, Outcome: flow.OutcomeComplete,
		Detections: []flow.Detection{}, File: "new\nline %.jpg",
	}
	data, err := flow.Encode(nil, scene)
	if err != nil {
		t.Fatal(err)
	}
	var back flow.Scene
	if err := errors.Join(flow.Decode(data, &back), back.Validate()); err != nil || back.File != scene.File {
		t.Errorf("%q, %v", back.File, err)
	}
	line, err := json.Marshal(scene.JSON())
	if err != nil || !strings.HasPrefix(string(line), `{"frame":{"source":"a","session":"s","seq":1,"file":"new\nline %.jpg"},`) {
		t.Errorf("%s, %v", line, err)
	}
	var read api.Scene
	if err := json.Unmarshal(line, &read); err != nil || cmp.Diff(scene.JSON(), read) != "" {
		t.Errorf("%v, %s", err, cmp.Diff(scene.JSON(), read))
	}
	for _, bad := range []string{strings.Repeat("x", flow.MaxFile+1), "caf\xe9"} {
		frame := &flow.Frame{Version: 2, Source: "a", Session: "s", Seq: 1, Mode: flow.ModeLossless, Plan: []string{"detect"}, File: bad}
		result := &flow.Result{Version: 2, Source: "a", Session: "s", Seq: 1, Mode: flow.ModeLossless, Plan: []string{"detect"}, Group: "detect", File: bad}
		scene.File = bad
		for _, message := range []interface{ Validate() error }{frame, result, scene} {
			if err := message.Validate(); !errors.Is(err, flow.ErrMessage) {
				t.Errorf("%T of %.20q: %v", message, bad, err)
			}
		}
	}
}
