package access

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sumText is what a file says of a token.
func sumText(token string) string {
	sum := Sum(token)
	return hex.EncodeToString(sum[:])
}

func TestParse(t *testing.T) {
	t.Parallel()
	token := NewToken()
	entries, err := parse("tokens.yaml", fmt.Appendf(nil, `
# who may ask
tokens:
  - {name: wall, sha256: %s, sources: ["cam*", yard], may: [view, predict], expires: 2027-01-31, rate: 0.5}
  - name: ops
    sha256: %s
    sources: ["*"]
    may: [status]
    expires: 2027-01-31T12:00:00+01:00
`, sumText(token), strings.ToUpper(sumText(NewToken()))))
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	want := entry{name: "wall", sum: Sum(token), sources: []string{"cam*", "yard"}, may: []Right{View, Predict}, expires: day, rate: .5}
	if len(entries) != 2 || !entries[0].equal(want) || !entries[1].expires.Equal(time.Date(2027, 1, 31, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", entries)
	}
	if entries, err := parse("f", []byte("tokens: []")); err != nil || len(entries) != 0 {
		t.Errorf("nobody: %v, %v", entries, err)
	}
}

// What is wrong is told with the file, the entry and the field, and never what could be a token.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	sum, secret := sumText("a"), NewToken()
	good := "{name: wall, sha256: " + sum + ", sources: [cam1], may: [view]}"
	for text, want := range map[string]string{
		"":                                       "it is empty",
		"{}":                                     "want tokens:",
		"tokens:":                                "want tokens:",
		"tokens: {}":                             "want tokens:",
		"tokens: []\nmore: 1":                    "line 2: unknown key",
		"tokens: []\ntokens: []":                 "is there twice",
		"tokens: []\n---\ntokens: []":            "more than one document",
		"tokens: [" + secret + "]":               "want keys with values",
		"tokens: [{name: wall}]":                 "token 1 (wall, line 1): sha256: is not there",
		"tokens: [{sha256: " + sum + "}]":        "token 1 (without a name, line 1): name: is not there",
		"tokens: [" + good + ", " + good + "]":   "token 2 (wall, line 1): name: there is another",
		"tokens: [" + secret:                     "line",
		"tokens: [*a]":                           "anchor",
		"tokens: [*" + secret + "]":              "unknown anchor 'sf_…'",
		secret + ": []":                          `unknown key "sf_…`,
		"tokens: [{" + secret + ": wall}]":       "sf_…: is no field",
		"{" + secret + ": 1, " + secret + ": 1}": "unknown key",
		"tokens: &a [*a]":                        "tokens.yaml",
		strings.Repeat("[", 20000):               "tokens.yaml",
		"tokens: [" + strings.Repeat("{},", MostTokens) + "{}]":                                             "at most 1024",
		strings.Replace("tokens: ["+good+"]", "wall", secret, 1):                                            "name: want",
		strings.Replace("tokens: ["+good+"]", sum, secret, 1):                                               "(wall, line 1): sha256: want",
		strings.Replace("tokens: ["+good+"]", sum, sum[2:], 1):                                              "sha256: want",
		strings.Replace("tokens: ["+good+"]", "[view]", "[veiw]", 1):                                        "(wall, line 1): may: there are view",
		strings.Replace("tokens: ["+good+"]", "[view]", "view", 1):                                          "may: want a list",
		strings.Replace("tokens: ["+good+"]", "[view]", "[view, view]", 1):                                  "may: want a list of words, each once",
		strings.Replace("tokens: ["+good+"]", "[cam1]", "["+secret+".]", 1):                                 "sources: a pattern is",
		strings.Replace("tokens: ["+good+"]", "[cam1]", `["cam[12]"]`, 1):                                   "sources: a pattern is",
		strings.Replace("tokens: ["+good+"]", "[cam1]", "[]", 1):                                            "sources: who may view",
		strings.Replace("tokens: ["+good+"]", "may:", "rate: -1, may:", 1):                                  "rate: want",
		strings.Replace("tokens: ["+good+"]", "may:", "rate: .nan, may:", 1):                                "rate: want",
		strings.Replace("tokens: ["+good+"]", "may:", "rate: "+secret+", may:", 1):                          "rate: want",
		strings.Replace("tokens: ["+good+"]", "may:", "expires: "+secret+", may:", 1):                       "expires: want",
		strings.Replace("tokens: ["+good+"]", "may:", "source: [cam1], may:", 1):                            "source: is no field",
		"tokens: [" + good + ", " + strings.Replace(good, "wall", "other", 1) + "]":                         "token 2 (other, line 1): sha256: is that of wall too",
		"tokens: [{name: wall, sha256: " + sum + ", sources: [cam1]}]":                                      "may: is not there",
		"tokens: [{name: wall, name: wall}]":                                                                "name is there twice",
		"tokens: [{name: wall, sha256: " + sum + ", sources: " + strings.Repeat("[", 300) + ", may: [view]": "tokens.yaml",
	} {
		_, err := parse("/etc/tokens.yaml", []byte(text))
		if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tokens.yaml") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.100s: %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret[3:12]) {
			t.Errorf("a token is told: %v", err)
		}
	}
}

func TestReadFileIsBounded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, make([]byte, MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{file, filepath.Dir(file), file + "-none", os.DevNull} {
		if _, err := readFile(file); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("tokens:\n  - {name: wall, sha256: " + sumText("a") + ", sources: [\"cam*\"], may: [view], expires: 2027-01-31, rate: 20}\n"))
	f.Add([]byte("tokens: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parse("f", data)
		if err != nil && !errors.Is(err, ErrFile) {
			t.Error(err)
		}
		for _, e := range entries {
			if c := newCaller(e); !nameText.MatchString(e.name) || len(e.may) == 0 || c.May(View) && len(e.sources) == 0 || c.Sees("") {
				if !c.SeesAll() {
					t.Errorf("%+v", e)
				}
			}
		}
	})
}
