package ffmpeg

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg/nut"
)

// StreamOptions are what a coded stream is decoded with, by one thread.
type StreamOptions struct {
	Format Format
	// Silence is how long nothing may come while a picture is waited for; 0: as long as it takes.
	Silence time.Duration
	// Args are further words before the input: see [DecodeArgs].
	Args []string
}

// Format of a coded stream.
type Format string

// The formats, in units of the form of Annex B: start codes before each NAL unit, parameter sets before key frames.
const (
	H264 Format = "h264"
	H265 Format = "hevc"
)

// codecs are the names by which NUT knows the formats.
var codecs = map[Format][4]byte{H264: {'H', '2', '6', '4'}, H265: {'H', 'E', 'V', 'C'}}

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
	codec, known := codecs[o.Format]
	if !known {
		return nil, fmt.Errorf("%w: format %q", ErrArgs, o.Format)
	}
	args := []string{
		"-nostdin", "-hide_banner", "-loglevel", logLevel, "-max_error_rate", "1", "-protocol_whitelist", "pipe", "-flags", "+low_delay",
		// Each unit is a picture: no parser, which would wait for the next to know that this one has ended.
		"-fflags", "+nofillin+noparse", "-probesize", "32", "-analyzeduration", "0", "-threads", "1",
	}
	args = append(args, o.Args...)
	args = append(args, "-copyts", "-f", "nut", "-i", "pipe:0", "-map", "0:v:0")
	args = append(args, output("", false)...)
	d, err := startDecoder(ctx, args, -1, o.Silence, true)
	if err != nil {
		return nil, err
	}
	return &Stream{Decoder: d, writer: nut.NewWriter(d.in, nut.Stream{Codec: codec})}, nil
}

// WriteUnit writes one access unit, the coded picture of one moment. Its time stamp, not negative and larger than the one before in order of
// display, is that of its picture, to the microsecond. It waits while ffmpeg is behind. An error says that ffmpeg is gone; Next says why.
func (s *Stream) WriteUnit(at time.Duration, key bool, unit []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writer.WriteFrame(at, key, unit)
}

// CloseWrite tells that the stream has ended: the pictures left come, and then [io.EOF].
func (s *Stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.Close()
}
