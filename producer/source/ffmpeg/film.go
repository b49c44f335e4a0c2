package ffmpeg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// FilmOptions are what a film is decoded with.
type FilmOptions struct {
	// Threads that decode; 0: as many as ffmpeg thinks good.
	Threads int
	// Silence is how long nothing may come while a picture is waited for; 0: as long as it takes.
	Silence time.Duration
	// Args are further words before the input: see [DecodeArgs].
	Args []string
}

// Film decodes a file, from its first picture to its last. Broken packets are passed over and counted; pictures that have lost some of
// their parts are shown with what FFmpeg puts there, as a player does.
type Film struct {
	*Decoder
	info Info
	path string
}

// OpenFilm starts an ffmpeg for a file that was probed. Its pictures are of the size that info says: of another size later on, they
// are fitted into it, with black bars where the shape differs.
func OpenFilm(ctx context.Context, path string, info Info, o FilmOptions) (*Film, error) {
	path, err := filepath.Abs(path) // ffmpeg is run in another folder
	if err != nil {
		return nil, err
	}
	args := []string{"-nostdin", "-hide_banner", "-loglevel", logLevel, "-max_error_rate", "1"} // what is broken is counted, however much
	if o.Threads > 0 {
		args = append(args, "-filter_threads", strconv.Itoa(o.Threads), "-threads", strconv.Itoa(o.Threads))
	}
	args = append(append(args, o.Args...), input(path)...)
	args = append(args, "-map", fmt.Sprintf("0:%d", info.Stream))
	args = append(args, output(info.filters())...)
	d, err := startDecoder(ctx, args, info.Stream, o.Silence, false)
	if err != nil {
		return nil, err
	}
	return &Film{d, info, path}, nil
}

// filters is the chain from a decoded picture to one of the film, and whether that is planar. ffmpeg turns pictures before it.
func (i Info) filters() (chain string, planar bool) {
	var f []string
	if i.FieldOrder != "progressive" && strings.HasPrefix(i.PixelFormat, "yuv") { // others it would have to convert
		f = append(f, "bwdif=mode=send_frame:deint=interlaced") // only pictures that are marked
	}
	f = append(f, fmt.Sprintf("scale=%d:%d:force_original_aspect_ratio=decrease", i.Width, i.Height))
	planar = i.Width%2 == 0 && i.Height%2 == 0 && !i.FullRange && (i.PixelFormat == "yuv420p" || i.PixelFormat == "yuv420p10le")
	switch i.ColorSpace {
	case "", "unknown", "smpte170m", "bt470bg": // as FFmpeg takes what is not said
	case "bt709":
		// The faster of two ways to BT.601, to the bit: primaries and transfer are left alone.
		if planar {
			f = append(f, "colorspace=iall=bt709:space=bt470bg:primaries=bt709:trc=bt709:irange=tv:range=tv:format=yuv420p")
		}
	default:
		planar = false
	}
	format := "bgr24"
	if planar {
		format = "yuv420p"
	}
	f = append(f, "format="+format, fmt.Sprintf("pad=%d:%d:(ow-iw)/2:(oh-ih)/2", i.Width, i.Height))
	return strings.Join(f, ","), planar
}

// Next is [Decoder.Next], with an end that is judged: [io.EOF] is returned when all of the film was there, [ErrEmpty] when it had no
// picture, and [ErrEarly] when it ends before its time.
func (f *Film) Next(ctx context.Context, room func(Layout) []byte) (time.Duration, error) {
	before := f.ended
	at, err := f.Decoder.Next(ctx, room)
	if before == nil && errors.Is(err, io.EOF) {
		f.ended = f.verdict(ctx)
		return 0, f.ended
	}
	return at, err
}

func (f *Film) verdict(ctx context.Context) error {
	if f.count == 0 {
		return fmt.Errorf("%w%s", ErrEmpty, f.because())
	}
	if !f.info.declared || f.info.Duration == 0 {
		return io.EOF
	}
	// Of a film that is broken somewhere the longest gap may be what is missing, and its last picture one that others refer to, which
	// comes before them.
	broken := f.messages.isCut() || f.Corrupt() > 0
	step := f.gap
	if f.info.FPS > 0 && (broken || step == 0) {
		step = time.Duration(float64(time.Second) / f.info.FPS)
	}
	tolerance := min(time.Second, f.info.Duration/10) + step*3/2
	if !broken && f.last+tolerance >= f.info.Duration {
		return io.EOF
	}
	// Its last pictures may be broken, or the last one be shown for long: what counts is where its packets end.
	end, err := f.packetsEnd(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && end+tolerance >= f.info.Duration {
		return io.EOF
	}
	return fmt.Errorf("%w: at %s of %s: the file is cut short or damaged%s", ErrEarly, short(f.last), short(f.info.Duration), f.because())
}

// short is a time as people read it, to a tenth of a second.
func short(d time.Duration) string { return d.Round(time.Second / 10).String() }

// packetsEnd is where the last packet ends that can be read after the last picture, from the start of the file: by when it is decoded,
// for a picture that others refer to comes before them, and is there when they are not.
func (f *Film) packetsEnd(ctx context.Context) (end time.Duration, err error) {
	args := []string{"-v", logLevel, "-show_entries", "packet=pts_time,dts_time,duration_time,flags", "-of", "csv=p=0:nk=1"}
	if !f.info.loose {
		args = append(args, "-select_streams", strconv.Itoa(f.info.Stream))
	}
	args = append(args, "-read_intervals", fmt.Sprintf("%f%%", (f.last+f.info.start).Seconds()))
	out, _, err := ask(ctx, append(args, input(f.path)...))
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Split(lines.Text(), ",")
		if len(fields) < 4 || strings.Contains(fields[3], "C") { // corrupt: it was cut
			continue
		}
		at := fields[1]
		if at == "N/A" {
			at = fields[0]
		}
		end = max(end, seconds(at).duration()-f.info.start+seconds(fields[2]).duration())
	}
	return end, err
}
