package ffmpeg

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg/nut"
)

// StreamOptions are what a coded stream is decoded with.
type StreamOptions struct {
	// Format is what is written: H264, H265, MJPEG or MPEG4 by access units with time stamps, or MPEGTS bytes.
	Format Format
	// Threads that decode; 0: one.
	Threads int
	// KeyFrames has only key frames decoded. (Who writes units may write only those.)
	KeyFrames bool
	// Silence is how long nothing may come while a picture is waited for; 0: as long as it takes.
	Silence time.Duration
	// Args are further words before the input: see [DecodeArgs].
	Args []string
}

// Format of a coded stream.
type Format string

// The formats. Units of H264 and H265 are in the form of Annex B: start codes before each NAL unit, parameter sets before key frames.
const (
	H264   Format = "h264"
	H265   Format = "hevc"
	MJPEG  Format = "mjpeg"
	MPEG4  Format = "mpeg4"
	MPEGTS Format = "mpegts"
)

// codecs are the names by which NUT knows the formats of units.
var codecs = map[Format][4]byte{
	H264: {'H', '2', '6', '4'}, H265: {'H', 'E', 'V', 'C'}, MJPEG: {'M', 'J', 'P', 'G'}, MPEG4: {'m', 'p', '4', 'v'},
}

// Stream decodes what is written to it. Pictures are taken by [Stream.Next] in one goroutine while another writes. When the size
// of the pictures changes, later ones are made as large as the first: whoever minds begins a new Stream.
type Stream struct {
	*Decoder
	mu     sync.Mutex // of writing
	writer *nut.Writer
}

// OpenStream starts an ffmpeg for a coded stream. It lives until Close, or ctx ends. It holds back no picture that it could give:
// those of a stream without B-frames come one by one. [ErrNoProgram] is returned when ffmpeg is not installed, [ErrArgs] for words that it
// may not be given.
func OpenStream(ctx context.Context, o StreamOptions) (*Stream, error) {
	args := []string{"-nostdin", "-hide_banner", "-loglevel", logLevel, "-protocol_whitelist", "pipe", "-flags", "+low_delay"}
	container := string(o.Format)
	codec, units := codecs[o.Format]
	switch {
	case units:
		// Each unit is a picture: no parser, which would wait for the next to know that this one has ended.
		container = "nut"
		args = append(args, "-fflags", "+nofillin+noparse", "-probesize", "32", "-analyzeduration", "0")
	case o.Format == MPEGTS:
		args = append(args, "-probesize", "500000", "-analyzeduration", "1000000")
	default:
		return nil, fmt.Errorf("%w: format %q", ErrArgs, o.Format)
	}
	if o.KeyFrames {
		args = append(args, "-skip_frame", "nokey")
	}
	args = append(args, "-threads", strconv.Itoa(max(1, o.Threads)))
	args = append(args, o.Args...)
	args = append(args, "-copyts", "-f", container, "-i", "pipe:0", "-map", "0:v:0")
	args = append(args, output("", false)...)
	d, err := startDecoder(ctx, args, -1, o.Silence, true)
	if err != nil {
		return nil, err
	}
	s := &Stream{Decoder: d}
	if units {
		s.writer = nut.NewWriter(d.in, nut.Stream{Codec: codec})
	}
	return s, nil
}

// WriteUnit writes one access unit, the coded picture of one moment. Its time stamp, not negative and larger than the one before in order of
// display, is that of its picture, to the microsecond. It waits while ffmpeg is behind. An error says that ffmpeg is gone; Next says why.
func (s *Stream) WriteUnit(at time.Duration, key bool, unit []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil {
		return fmt.Errorf("%w: units where bytes are due", ErrArgs)
	}
	return s.writer.WriteFrame(at, key, unit)
}

// Write writes bytes of a stream that is no sequence of units: MPEGTS.
func (s *Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer != nil {
		return 0, fmt.Errorf("%w: bytes where units are due", ErrArgs)
	}
	return s.in.Write(p)
}

// CloseWrite tells that the stream has ended: the pictures left come, and then [io.EOF].
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.Close()
}

// SetWriteDeadline bounds what WriteUnit and Write may wait, as with [os.File]. A unit that was written in part ends the stream.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.in.SetWriteDeadline(t) }
