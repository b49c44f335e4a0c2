package producer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const (
	maxSourceFile = 1 << 20     // bytes
	readFileEvery = time.Second // whether it has changed
)

// line is a source of --source-file, or one that is configured at run time. Two lines are the same when they say the same, and stand in as
// many places.
type line struct {
	text  string
	place int    // among lines of the same text
	lacks string // why it can't be carried here; empty: it can
}

// listed are the lines of a file, in order, with their numbers.
type listed struct {
	lines   []line
	numbers []int
}

// taken are the sources of --source and of --source-file, taken apart.
type taken struct {
	specs   []source.Spec
	lines   []line // of each; zero: of --source
	refused []error
	file    []byte // that they were read from
}

// sources takes --source and --source-file apart. An error is returned when nothing can be done with them.
func (c Config) sources() (taken, error) {
	// An environment variable that is set to nothing is none: docker-compose.yml always sets it.
	args := slices.DeleteFunc(slices.Clone(c.Sources), func(s string) bool { return s == "" })
	var file listed
	var data []byte
	if c.SourceFile != "" {
		var err error
		data, err = c.sourceFile().read()
		if err == nil {
			file = listSources(data)
		}
		if err == nil && len(file.lines) == 0 {
			err = fmt.Errorf("%w: --source-file %s names no source: give one a line, as --source takes it", ErrConfig, c.SourceFile)
		}
		if err != nil {
			return taken{}, err
		}
	}
	if len(args) > c.MaxSources {
		return taken{}, fmt.Errorf("%w: %d sources, at most %d (--max-sources)", ErrConfig, len(args), c.MaxSources)
	}
	specs, err := source.Parse(args, c.settings())
	if err != nil {
		return taken{}, err
	}
	t := c.beside(file, taken{specs: specs, lines: make([]line, len(specs)), file: data})
	if len(t.refused) > 0 && (c.ExitWhenDone || len(t.specs) == 0) {
		return taken{}, t.refused[0]
	}
	return t, nil
}

// beside takes lines apart, beside sources that are there.
func (c Config) beside(file listed, there taken) taken {
	var names, args []string
	for _, s := range there.specs {
		names = append(names, s.Name)
	}
	for _, l := range file.lines {
		args = append(args, l.text)
	}
	specs, errs := source.ParseBeside(args, c.settings(), names)
	var beyond []int // lines
	for i, s := range specs {
		switch err := errs[i]; {
		case err != nil:
			there.refused = append(there.refused, fmt.Errorf("--source-file %s, line %d: %w", c.SourceFile, file.numbers[i], err))
		case len(there.specs) >= c.MaxSources:
			beyond = append(beyond, file.numbers[i])
		default:
			there.specs, there.lines = append(there.specs, s), append(there.lines, file.lines[i])
		}
	}
	if len(beyond) > 0 {
		there.refused = append(there.refused, fmt.Errorf("--source-file %s, line %d: %w: %d sources from here on are more than %d (--max-sources)",
			c.SourceFile, beyond[0], ErrConfig, len(beyond), c.MaxSources))
	}
	return there
}

// followed is a file that is read again when it changes.
type followed struct{ flag, path string }

func (c Config) sourceFile() followed     { return followed{"--source-file", c.SourceFile} }
func (c Config) credentialFile() followed { return followed{"--credential-file", c.CredentialFile} }

// read returns [ErrConfig] when there is none, a very large one, or one that is no regular file: a pipe could be waited for without end.
func (f followed) read() ([]byte, error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, f.flag, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s %s is no regular file", ErrConfig, f.flag, f.path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSourceFile+1))
	if err == nil && len(data) > maxSourceFile {
		err = fmt.Errorf("it takes more than %d bytes", maxSourceFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrConfig, f.flag, f.path, err)
	}
	return data, nil
}

// listSources lists the sources that a file names.
func listSources(data []byte) (l listed) {
	const byteOrderMark = "\ufeff" // some editors put one at the beginning
	places, number := map[string]int{}, 0
	for text := range strings.Lines(strings.TrimPrefix(string(data), byteOrderMark)) {
		number++
		if text = strings.TrimSpace(text); text != "" && !strings.HasPrefix(text, "#") {
			l.lines, l.numbers = append(l.lines, line{text: text, place: places[text]}), append(l.numbers, number)
			places[text]++
		}
	}
	return l
}

// follow reads the file again and again until ctx ends, and hands it on when it has changed, and is the same as a second before: one that
// is being written is not whole. One that can't be read has not changed, nor has one that is empty: whoever means that nothing is
// left writes a comment. Why is handed on once.
func (f followed) follow(ctx context.Context, before []byte, changed func([]byte), failed func(error)) {
	told, last := "", before
	for clock.Sleep(ctx, readFileEvery) {
		data, err := f.read()
		if err == nil && len(bytes.TrimSpace(data)) == 0 {
			err = fmt.Errorf("%w: %s %s is empty", ErrConfig, f.flag, f.path)
		}
		switch {
		case err != nil:
			if err.Error() != told {
				told = err.Error()
				failed(err)
			}
		case bytes.Equal(data, last) && !bytes.Equal(data, before):
			before, told = data, ""
			changed(data)
		default:
			last, told = data, ""
		}
	}
}
