package ffmpeg

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Bounds of a look at a file.
const (
	probeTimeout = 30 * time.Second
	maxProbed    = 4 << 20 // bytes that ffprobe may say
)

// demuxers are those of files that hold a film themselves. Those that follow what a file names are left out (hls, concat, dash, sdp,
// image2, imf): a list is no film, and could name any file.
const demuxers = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,m4v,h264,hevc,vc1,obu,av1,ivf,flv,live_flv," +
	"asf,asf_o,ogg,gif,apng,nut,mxf,rm,dv,mjpeg,mpjpeg,yuv4mpegpipe,wtv,gxf,nsv"

// input are the words before a file, for both programs: it may open this file, and no other.
func input(path string) []string {
	return []string{"-protocol_whitelist", "file", "-format_whitelist", demuxers, "-i", "file:" + path}
}

// Info is what a film is.
type Info struct {
	Stream        int    // index of its video in the file
	Container     string // such as "mov,mp4,m4a,3gp,3g2,mj2"
	Codec         string // such as "h264"
	PixelFormat   string // as stored, such as "yuv420p"
	FieldOrder    string // "progressive", "tt" and so on, or "unknown"
	ColorSpace    string // of the matrix, such as "bt709"; empty: not said
	FullRange     bool
	Width, Height int           // pixels as shown: turned as the file says, and not stretched
	Rotation      int           // degrees anticlockwise by which the stored picture is turned to be shown
	FPS           float64       // pictures a second on average, as the file says; 0: it does not say
	Frames        uint64        // as the file says: never to be relied on; 0: it does not say
	Duration      time.Duration // from the file's start to the end of the video, as the file says; 0: it does not say

	start    time.Duration // of the file's time stamps
	declared bool          // Duration is what the writer noted, and no guess of FFmpeg's
	loose    bool          // Duration is that of the whole file, whose sound may be longer
}

// Probe looks at a file. [ErrNoVideo] is returned when it is no film, saying what it is instead, [ErrNoProgram] when FFmpeg is not
// installed. Errors do not name the file.
func Probe(ctx context.Context, path string) (Info, error) {
	path, err := filepath.Abs(path) // ffmpeg is run in another folder
	if err != nil {
		return Info{}, err
	}
	if file, err := os.Stat(path); err == nil && file.Mode().IsRegular() && file.Size() == 0 {
		return Info{}, fmt.Errorf("%w: it is empty", ErrNoVideo)
	}
	args := append([]string{"-v", logLevel, "-show_streams", "-show_format", "-of", "json"}, input(path)...)
	out, messages, err := ask(ctx, args)
	if errors.Is(err, ErrNoProgram) || ctx.Err() != nil {
		return Info{}, err
	}
	if err != nil {
		return Info{}, fmt.Errorf("%w: %s", ErrNoVideo, reason(messages, err))
	}
	var probed probed
	if err := json.Unmarshal(out, &probed); err != nil {
		return Info{}, fmt.Errorf("%w: ffprobe answers no JSON: %w", ErrNoVideo, err)
	}
	return probed.info(messages)
}

// ask runs ffprobe. An error is that of its end.
func ask(ctx context.Context, args []string) ([]byte, *messages, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("nothing for %v", probeTimeout))
	defer cancel()
	var files [4]*os.File
	defer func() {
		for _, f := range files {
			if f != nil {
				_ = f.Close()
			}
		}
	}()
	var err error
	for i := 0; i < len(files); i += 2 {
		if files[i], files[i+1], err = os.Pipe(); err != nil {
			return nil, nil, err
		}
	}
	p, err := start(ctx, "ffprobe", args, nil, files[1], files[3])
	if err != nil {
		return nil, nil, err
	}
	_, _ = files[1].Close(), files[3].Close()
	m := newMessages(-1)
	go m.read(files[2])
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(files[0], maxProbed+1))
	if n > maxProbed {
		err = fmt.Errorf("more than %d bytes of answer", maxProbed)
	}
	if err != nil {
		p.stop()
	}
	<-p.done
	<-m.drained
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = p.err
	}
	return out.Bytes(), m, err
}

// reason is why ffprobe could not make anything of a file, in a line.
func reason(m *messages, err error) string {
	var exit *exec.ExitError
	switch said := m.lastError(); {
	case err != nil && !errors.As(err, &exit):
		return err.Error()
	case m.said("not on whitelist"):
		return "it is of a kind that only names other files, or that is no film: give the film itself"
	case m.said("moov atom not found"):
		return "it has no index (moov): it is no film, or a recording that was not finished; untrunc or the recorder's own repair may save that"
	case m.said("Invalid data found") || said == "":
		return "FFmpeg finds nothing in it that it can read: it may be empty, cut short, encrypted or no film at all"
	default:
		return said
	}
}

// probed is what ffprobe answers.
type probed struct {
	Streams []probedStream
	Format  struct {
		Name     string `json:"format_name"`
		Duration seconds
		Start    seconds `json:"start_time"`
	}
}

type probedStream struct {
	Index         int
	Type          string `json:"codec_type"`
	Codec         string `json:"codec_name"`
	Width, Height int
	PixelFormat   string `json:"pix_fmt"`
	FieldOrder    string `json:"field_order"`
	Range         string `json:"color_range"`
	Space         string `json:"color_space"`
	Average       rate   `json:"avg_frame_rate"`
	Rate          rate   `json:"r_frame_rate"`
	Duration      seconds
	Start         seconds `json:"start_time"`
	Frames        string  `json:"nb_frames"`
	Disposition   map[string]int
	Tags          map[string]string
	SideData      []struct {
		Rotation *int
	} `json:"side_data_list"`
}

// info chooses the film among the streams: the first that is marked as the default, else the first, of those that are neither a cover
// nor a still.
func (p *probed) info(m *messages) (Info, error) {
	var chosen *probedStream
	has := map[string]int{}
	others := 0
	for i := range p.Streams {
		s := &p.Streams[i]
		kind := s.Type
		if s.Disposition["attached_pic"]+s.Disposition["still_image"]+s.Disposition["timed_thumbnails"] > 0 {
			kind = "cover"
		}
		has[kind]++
		if kind == "audio" {
			others++
		}
		if kind == "video" && s.Width > 0 && s.Height > 0 && (chosen == nil || chosen.Disposition["default"] == 0 && s.Disposition["default"] > 0) {
			chosen = s
		}
	}
	switch {
	case chosen != nil:
	case m.said("moov atom not found"):
		return Info{}, fmt.Errorf("%w: %s", ErrNoVideo, reason(m, nil))
	case has["video"] > 0:
		return Info{}, fmt.Errorf("%w: its video can't be decoded: %s", ErrNoVideo, orElse(m.lastError(), "FFmpeg does not know its size or its codec"))
	case has["cover"] > 0:
		return Info{}, fmt.Errorf("%w: there is no video in it but a cover or a still", ErrNoVideo)
	case has["audio"] > 0:
		return Info{}, fmt.Errorf("%w: there is only sound in it", ErrNoVideo)
	default:
		return Info{}, fmt.Errorf("%w: there is no video in it that FFmpeg can make out: was the recording finished?", ErrNoVideo)
	}
	info := Info{
		Stream: chosen.Index, Container: p.Format.Name, Codec: chosen.Codec, PixelFormat: chosen.PixelFormat, FieldOrder: chosen.FieldOrder,
		ColorSpace: chosen.Space, FullRange: chosen.Range == "pc" || strings.HasPrefix(chosen.PixelFormat, "yuvj"),
		Width: chosen.Width, Height: chosen.Height, FPS: chosen.Average.perSecond(), start: p.Format.Start.duration(),
	}
	if info.FPS == 0 {
		info.FPS = chosen.Rate.perSecond()
	}
	if _, err := fmt.Sscan(chosen.Frames, &info.Frames); err != nil {
		info.Frames = 0
	}
	for _, data := range chosen.SideData {
		if data.Rotation != nil {
			info.Rotation = *data.Rotation
		}
	}
	if turned := (info.Rotation%180 + 180) % 180; turned >= 89 && turned <= 91 {
		info.Width, info.Height = info.Height, info.Width
	}
	info.setDuration(p, chosen, others)
	return info, nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// noting are the containers in which a writer notes how long the film is. For others FFmpeg goes by the time stamps at the end, which
// say nothing of a film that is cut short, and wrong things of clocks that jump.
var noting = regexp.MustCompile(`^(mov|matroska|avi|asf|flv|mxf|nut)\b`)

func (i *Info) setDuration(p *probed, s *probedStream, others int) {
	offset := max(0, s.Start.duration()-i.start)
	i.declared = noting.MatchString(i.Container)
	switch {
	case i.Container == "avi" && i.FPS > 0: // its header counts pictures of one length; FFmpeg goes by what is left of the file
		i.Duration = offset + max(s.Duration.duration(), time.Duration(float64(i.Frames)/i.FPS*float64(time.Second)))
	case s.Duration.duration() > 0:
		i.Duration = offset + s.Duration.duration()
	case clockTime(s.Tags["DURATION"]) > 0: // Matroska's, from zero on
		i.Duration = max(0, clockTime(s.Tags["DURATION"])-i.start)
	default:
		i.Duration, i.loose = p.Format.Duration.duration(), others > 0
	}
}

// clockTime reads 01:02:03.456789; 0 when it is none.
func clockTime(text string) time.Duration {
	var hours, minutes int
	var secs float64
	if n, err := fmt.Sscanf(text, "%d:%d:%f", &hours, &minutes, &secs); n != 3 || err != nil || hours < 0 || hours > 10000 || minutes < 0 || minutes > 59 || secs < 0 || secs > 61 {
		return 0
	}
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(secs*float64(time.Second))
}

// seconds are a number of them as ffprobe writes it; "N/A" or nothing is 0.
type seconds string

func (s seconds) duration() time.Duration {
	var v float64
	if _, err := fmt.Sscan(string(s), &v); err != nil || !(v > -1e9 && v < 1e9) {
		return 0
	}
	return time.Duration(v * float64(time.Second))
}

// rate is a fraction, such as "30000/1001".
type rate string

// perSecond is 0 when it is not known, or beyond what a film can have.
func (r rate) perSecond() float64 {
	const most = 1000
	var num, den float64
	if n, err := fmt.Sscanf(string(r), "%f/%f", &num, &den); n != 2 || err != nil || den <= 0 || num <= 0 || num/den > most {
		return 0
	}
	return num / den
}
