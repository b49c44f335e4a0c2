package token_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/standalone/token"
)

// run runs the command, and answers what it says on standard output and on standard error.
func run(t *testing.T, arguments ...string) (out, log string, err error) {
	t.Helper()
	var command struct {
		Token token.Command `cmd:""`
	}
	parser, err := service.Parser("spatialflow", "", &command)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"token", "new"}, arguments...)); err != nil {
		return "", "", err
	}
	var o, l bytes.Buffer
	err = command.Token.New.Run(&o, &l)
	return o.String(), l.String(), err
}

// The token is alone on standard output, and nowhere else; its hash is in the file, which stays one.
func TestNew(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	for i, arguments := range [][]string{
		{"--name=wall", "--source=cam*,yard", "--may=view,predict", "--expires=30d", "--rate=20"},
		{"--name=ops", "--may=status", "--expires=2999-12-31"},
		{"--name=robot", "--may=predict"},
	} {
		secret, log, err := run(t, append(arguments, "--tokens", file)...)
		if err != nil {
			t.Fatal(err)
		}
		secret = strings.TrimSpace(secret)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sum := fmt.Sprintf("%x", access.Sum(secret))
		if strings.Count(string(data), sum) != 1 || strings.Contains(string(data)+log, secret) || strings.Count(string(data), "- name:") != i+1 || len(secret) != 46 {
			t.Errorf("%q: %s\n%s", secret, log, data)
		}
		secret, log, err = run(t, arguments...)
		if secret = strings.TrimSpace(secret); err != nil || !strings.Contains(log, fmt.Sprintf("%x", access.Sum(secret))) || strings.Contains(log, secret) {
			t.Errorf("without a file: %s %s, %v", secret, log, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{
		"--source=cam1":                               "name: want",
		"--name=Wall --source=cam1":                   "name: want",
		"--name=wall":                                 "sources: who may view",
		"--name=wall --source=a.b":                    "sources: a pattern",
		"--name=wall --source=a --may=all":            "may: there are",
		"--name=wall --source=a --expires=soon":       "--expires",
		"--name=wall --source=a --expires=0d":         "--expires",
		"--name=wall --source=a --expires=1999-12-31": "in the past",
		"--name=wall --source=a --rate=-1":            "rate: want",
		"--name=wall --source=a --tokens=/":           "is no file",
	} {
		if out, _, err := run(t, strings.Fields(arguments)...); err == nil || out != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", arguments, out, err)
		}
	}
	if _, _, err := run(t, "--name=wall", "--source=a", "--tokens=/"); !errors.Is(err, access.ErrFile) {
		t.Error(err)
	}
}
