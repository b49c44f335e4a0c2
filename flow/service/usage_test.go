package service_test

import (
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/service"
)

// What is wrong is the last line, and is not lost behind all flags.
func TestWrongSettingsAreSaidInShort(t *testing.T) {
	t.Parallel()
	var cli struct {
		Rate int `help:"How often."`
	}
	parser, err := service.Parser("program", "Does something.", &cli)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	code := 0
	parser.Stdout, parser.Stderr, parser.Exit = &said, &said, func(c int) { code = c }
	_, err = parser.Parse([]string{"--nonsense"})
	parser.FatalIfErrorf(err)
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	if code == 0 || strings.Contains(said.String(), "How often") || len(lines) > 4 || lines[len(lines)-1] != "program: error: unknown flag --nonsense" {
		t.Errorf("exit code %d, and said is\n%s", code, &said)
	}
}
