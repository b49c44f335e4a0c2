package ffmpeg

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// encodeSilence is how long ffmpeg may take no picture, or need to end.
const encodeSilence = time.Minute

// encoders write a kind of file, the best first: one is taken that this ffmpeg has.
var encoders = map[string][][]string{
	".mp4": {
		{"libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"},
		{"mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"},
	},
	".avi": {{"mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"}},
}

// Encodes says whether a file of this name can be written: .mp4 (H.264, or MPEG-4 part 2 where ffmpeg has no encoder for that) or .avi
// (motion JPEG).
func Encodes(path string) bool { return encoders[extension(path)] != nil }

func extension(path string) string { return strings.ToLower(filepath.Ext(path)) }

// Encoder is an ffmpeg that writes a film. It is for one goroutine.
type Encoder struct {
	cancel   context.CancelFunc
	process  *process
	in       *os.File
	messages *messages
	bytes    int // of a picture
	frames   uint64
	path     string
	closed   sync.Once
	err      error // of Close
}

// NewEncoder begins a film of so many pictures a second, over a file that may be there. Its sides must be even. [ErrEncode] is returned
// when its name is of no kind that is written, or ffmpeg has no encoder for it; [ErrNoProgram] when it is not installed. It is killed
// when ctx ends.
func NewEncoder(ctx context.Context, path string, width, height int, fps float64) (*Encoder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	codec, err := encoder(ctx, extension(path))
	if err != nil {
		return nil, err
	}
	args := []string{"-hide_banner", "-loglevel", logLevel, "-protocol_whitelist", "pipe", "-f", "rawvideo", "-pixel_format", "bgr24",
		"-video_size", fmt.Sprintf("%dx%d", width, height), "-framerate", framerate(fps), "-i", "pipe:0", "-c:v"}
	args = append(append(args, codec...), "-f", strings.TrimPrefix(extension(path), "."), "-y", "file:"+path)
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	complaints, stderr, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	defer stderr.Close()
	widen(in)
	ctx, cancel := context.WithCancel(ctx)
	p, err := start(ctx, "ffmpeg", args, stdin, nil, stderr)
	if err != nil {
		cancel()
		_, _ = in.Close(), complaints.Close()
		return nil, err
	}
	e := &Encoder{cancel: cancel, process: p, in: in, messages: newMessages(-1), bytes: width * height * 3, path: path}
	go func() {
		e.messages.read(complaints)
		_ = complaints.Close()
	}()
	return e, nil
}

// framerate is a fraction whose numerator MPEG-4 part 2 can hold, which has 16 bits for it: to a thousandth, or for a fast film a fiftieth.
func framerate(fps float64) string {
	den := 1000.
	if fps*den > math.MaxUint16 {
		den = 50
	}
	return fmt.Sprintf("%.0f/%.0f", math.Round(fps*den), den)
}

// encoder is the first encoder of a kind of file that ffmpeg has, with its options.
func encoder(ctx context.Context, extension string) ([]string, error) {
	choice := encoders[extension]
	if choice == nil {
		return nil, fmt.Errorf("%w: its name ends neither in .mp4 nor in .avi", ErrEncode)
	}
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	ctx, cancel := context.WithTimeout(ctx, encodeSilence)
	defer cancel()
	list := exec.CommandContext(ctx, program, "-v", "error", "-encoders")
	list.Env = environment()
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: list encoders: %w", ErrEncode, err)
	}
	for _, codec := range choice {
		if bytes.Contains(out, []byte(" "+codec[0]+" ")) {
			return codec, nil
		}
	}
	return nil, fmt.Errorf("%w: this ffmpeg has no encoder for %s (%s)", ErrEncode, extension, choice[0][0])
}

// Add writes a picture, blue, green, red, row after row from the top. [ErrEncode] is returned when ffmpeg failed, with what it said.
func (e *Encoder) Add(pixels []byte) error {
	if len(pixels) != e.bytes {
		return fmt.Errorf("%w: a picture of %d bytes, want %d", ErrEncode, len(pixels), e.bytes)
	}
	err := e.in.SetWriteDeadline(time.Now().Add(encodeSilence))
	if err == nil {
		_, err = e.in.Write(pixels)
	}
	if err != nil {
		e.process.stop()
		<-e.messages.drained
		return fmt.Errorf("%w: %w%s", ErrEncode, err, because(e.messages))
	}
	e.frames++
	return nil
}

// Close completes the film, and looks whether all of its pictures are in there. [ErrEncode] is returned when they are not.
func (e *Encoder) Close() error {
	e.closed.Do(func() {
		defer e.cancel()
		_ = e.in.Close()
		select {
		case <-e.process.done:
		case <-time.After(encodeSilence):
			e.process.stop()
		}
		<-e.messages.drained
		if e.process.err != nil {
			e.err = fmt.Errorf("%w: %w%s", ErrEncode, e.process.err, because(e.messages))
			return
		}
		info, err := Probe(context.Background(), e.path)
		if err == nil && info.Frames != e.frames {
			err = fmt.Errorf("%d of %d pictures were written", info.Frames, e.frames)
		}
		if err != nil {
			e.err = fmt.Errorf("%w: %w; is the disk full?%s", ErrEncode, err, because(e.messages))
		}
	})
	return e.err
}

// Abandon ends the writing of a film that is not wanted any more.
func (e *Encoder) Abandon() {
	e.cancel()
	_ = e.Close()
}
