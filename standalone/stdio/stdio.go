// Package stdio is the standard output of a program: for data, if need be, and for a reader that goes.
package stdio

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// Standard is what flags that name a file say for standard output.
const Standard = "-"

// Stream is standard output or standard error. Once its reader has gone, as head(1) does, the program is asked to end, and
// what is written is thrown away: what it has in hand is finished, and what it made is removed.
type Stream struct {
	file *os.File
	end  context.CancelFunc
	gone atomic.Bool
}

// New is the stream to a file; end asks the program to end. Its methods may be called from many goroutines.
func New(file *os.File, end context.CancelFunc) *Stream { return &Stream{file: file, end: end} }

// CatchPipe has writes to a pipe without a reader fail, where they would kill the program. Programs that it starts are not
// touched by it.
func CatchPipe() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Gone says whether the reader has gone.
func (s *Stream) Gone() bool { return s.gone.Load() }

// Write fails as the file does, unless its reader has gone.
func (s *Stream) Write(data []byte) (int, error) {
	if s.gone.Load() {
		return len(data), nil
	}
	n, err := s.file.Write(data)
	if errors.Is(err, syscall.EPIPE) {
		s.gone.Store(true)
		s.end()
		return len(data), nil
	}
	return n, err
}

// Stat is that of the file behind it.
func (s *Stream) Stat() (os.FileInfo, error) { return s.file.Stat() }

// Is says whether a path is that of the output: -, or whatever leads to the same file, as /dev/stdout, which would be
// overwritten if it were opened once more.
func Is(path string, out io.Writer) bool {
	if path == Standard {
		return true
	}
	file, ok := out.(interface{ Stat() (os.FileInfo, error) })
	if !ok {
		return false
	}
	its, err := file.Stat()
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && os.SameFile(its, info)
}
