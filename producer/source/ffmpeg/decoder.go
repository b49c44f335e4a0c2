// Package ffmpeg runs the programs of FFmpeg: ffprobe, to see what a film is, and ffmpeg, to decode films and coded streams and to
// write films. They are processes of their own, so that what crashes or hangs in there ends one source, and nothing else. Every
// one may read its own file or pipe and nothing else, whatever the file names (-protocol_whitelist).
package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg/nut"
)

// pipeBytes are what a pipe holds, if it may: few large writes are cheaper than many.
const pipeBytes = 1 << 20

// Decoder is an ffmpeg that decodes. Its pictures are for one goroutine, but for Close, which may come from any.
type Decoder struct {
	cancel   context.CancelFunc
	process  *process
	in       *os.File // coded bytes to it; nil: it reads a file
	out      *os.File // pictures from it
	nut      *nut.Reader
	messages *messages
	silence  time.Duration

	layout Layout // once begun
	begun  bool
	ended  error // what Next returns ever after
	count  uint64
	last   time.Duration // time stamp of the picture before
	gap    time.Duration // the longest between two pictures
	closed sync.Once
}

// startDecoder starts an ffmpeg with these words, whose output is raw pictures. With fed, coded bytes are written to it. It is killed
// when ctx ends.
func startDecoder(ctx context.Context, args []string, stream int, silence time.Duration, fed bool) (_ *Decoder, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var theirs []*os.File // closed here once it has them
	var ours []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			cancel()
			for _, f := range ours {
				_ = f.Close()
			}
		}
	}()
	pipe := func(intoIt bool) (ourEnd, theirEnd *os.File, err error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		if intoIt {
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
		return r, w, nil
	}
	d := &Decoder{cancel: cancel, messages: newMessages(stream), silence: silence}
	var stdin, stdout, stderr, complaints *os.File
	if fed {
		if d.in, stdin, err = pipe(true); err != nil {
			return nil, err
		}
	}
	if d.out, stdout, err = pipe(false); err != nil {
		return nil, err
	}
	if complaints, stderr, err = pipe(false); err != nil {
		return nil, err
	}
	widen(d.out)
	if d.process, err = start(ctx, "ffmpeg", args, stdin, stdout, stderr); err != nil {
		return nil, err
	}
	go func() {
		d.messages.read(complaints)
		_ = complaints.Close()
	}()
	d.nut = nut.NewReader(impatient{d})
	return d, nil
}

// widen has a pipe hold more, if it may.
func widen(pipe *os.File) {
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if c, err := pipe.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, pipeBytes) // then it stays as it is
		})
	}
}

// impatient reads a decoder's output. A read that gets nothing for as long as ffmpeg may be silent fails.
type impatient struct{ d *Decoder }

func (i impatient) Read(p []byte) (int, error) {
	if i.d.silence > 0 {
		if err := i.d.out.SetReadDeadline(time.Now().Add(i.d.silence)); err != nil {
			return 0, err
		}
	}
	return i.d.out.Read(p)
}

// Next takes the next picture and its time stamp. room is told its layout, which is that of the first picture, and says where its
// layout.Bytes() bytes go: nil when they are not wanted. [io.EOF] is returned when ffmpeg has come to its end; [ErrDecode] when it
// fails or is killed, [ErrSilent] when it gives nothing for too long. When ctx ends the decoder does.
func (d *Decoder) Next(ctx context.Context, room func(Layout) []byte) (time.Duration, error) {
	if d.ended != nil {
		return 0, d.ended
	}
	stop := context.AfterFunc(ctx, d.cancel)
	at, err := d.next(room)
	stop()
	if err != nil {
		d.ended = d.why(ctx, err)
		return 0, d.ended
	}
	return at, nil
}

func (d *Decoder) next(room func(Layout) []byte) (time.Duration, error) {
	if !d.begun {
		header, err := d.nut.Header()
		if err != nil {
			return 0, err
		}
		d.layout, d.begun = Layout{header.Width, header.Height, header.Codec == planar}, true
	}
	frame, err := d.nut.Next()
	if err != nil {
		return 0, err
	}
	if want := d.layout.Bytes(); frame.Size != want {
		return 0, fmt.Errorf("%w: a picture of %d bytes, want %d", nut.ErrFormat, frame.Size, want)
	}
	if pixels := room(d.layout); pixels != nil {
		if len(pixels) != frame.Size {
			return 0, fmt.Errorf("%w: room for %d bytes of a picture of %d", ErrDecode, len(pixels), frame.Size)
		}
		if _, err := io.ReadFull(d.nut, pixels); err != nil {
			return 0, err
		}
	}
	if d.count > 0 {
		d.gap = max(d.gap, frame.Time-d.last)
	}
	d.count, d.last = d.count+1, frame.Time
	return frame.Time, nil
}

// why is what an error in reading comes from. The process is gone then.
func (d *Decoder) why(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.process.stop()
		return fmt.Errorf("%w for %v%s", ErrSilent, d.silence, d.because())
	}
	if !errors.Is(err, io.EOF) { // it writes on, and nobody reads
		_ = d.process.kill()
	}
	<-d.process.done
	d.drain()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case d.process.err != nil && !errors.Is(err, nut.ErrFormat) || d.process.err != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w%s", ErrDecode, d.process.err, d.because())
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("%w: %w%s", ErrDecode, err, d.because())
}

// because is what ffmpeg said last of an error, to be put behind one.
func (d *Decoder) because() string { return because(d.messages) }

func because(m *messages) string {
	if said := m.lastError(); said != "" {
		return ": " + said
	}
	return ""
}

// drain waits for the messages of a process that is gone; of one that left a child with its standard error, not for ever.
func (d *Decoder) drain() {
	select {
	case <-d.messages.drained:
	case <-time.After(grace):
	}
}

// Corrupt counts packets and pictures so far that were broken: passed over, or shown with what could be made of them.
func (d *Decoder) Corrupt() uint64 { return d.messages.corruptPackets() }

// Pictures counts those that were taken.
func (d *Decoder) Pictures() uint64 { return d.count }

// Close kills ffmpeg, unless it has ended, and waits until it is gone. Nothing of it stays.
func (d *Decoder) Close() error {
	d.closed.Do(func() {
		d.cancel()
		d.process.stop()
		d.drain()
		if d.in != nil {
			_ = d.in.Close()
		}
		_ = d.out.Close()
	})
	return nil
}
