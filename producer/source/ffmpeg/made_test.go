package ffmpeg_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// h264 encodes as most films are, quickly.
var h264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}

// made makes a film with ffmpeg and returns its path.
func made(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	coded(t, append(args, "-y", "file:"+path)...)
	return path
}

// pixel is a pixel of a picture in BGR.
func (p *played) pixel(picture, x, y int) (b, g, r byte) {
	i := (y*p.layout.Width + x) * 3
	d := p.pictures[picture]
	return d[i], d[i+1], d[i+2]
}

// bgr plays a film whose pictures are wanted in BGR.
func bgr(t *testing.T, path string) (p played) {
	t.Helper()
	info, err := ffmpeg.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info.FullRange = true // of which there are no planar pictures
	film, err := ffmpeg.OpenFilm(t.Context(), path, info, ffmpeg.FilmOptions{Threads: 1, Silence: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer film.Close()
	for {
		var pixels []byte
		_, err := film.Next(t.Context(), func(l ffmpeg.Layout) []byte {
			p.layout, pixels = l, make([]byte, l.Bytes())
			return pixels
		})
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		p.pictures = append(p.pictures, pixels)
	}
}

// TestTurned has the top of the stored picture red, its bottom blue, its left edge green.
func TestTurned(t *testing.T) {
	t.Parallel()
	plain := made(t, "plain.mp4", append([]string{"-f", "lavfi", "-i", "color=red:s=160x60:r=10:d=0.5", "-f", "lavfi", "-i", "color=blue:s=160x60:r=10:d=0.5",
		"-filter_complex", "[0][1]vstack,drawbox=x=0:y=0:w=20:h=120:color=lime:t=fill"}, h264...)...)
	stored, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		a, b, c, d int32 // of the matrix: https://developer.apple.com/documentation/quicktime-file-format/track_header_atom
		turned     bool
		red, blue  [2]int // in hundredths of width and height
		green      [2]int
	}{
		"as stored":     {a: 1, d: 1, red: [2]int{50, 25}, blue: [2]int{50, 75}, green: [2]int{3, 50}},
		"90 clockwise":  {b: 1, c: -1, turned: true, red: [2]int{75, 50}, blue: [2]int{25, 50}, green: [2]int{50, 3}},
		"180":           {a: -1, d: -1, red: [2]int{50, 75}, blue: [2]int{50, 25}, green: [2]int{97, 50}},
		"270 clockwise": {b: -1, c: 1, turned: true, red: [2]int{25, 50}, blue: [2]int{75, 50}, green: [2]int{50, 97}},
		"mirrored":      {a: -1, d: 1, red: [2]int{50, 25}, blue: [2]int{50, 75}, green: [2]int{97, 50}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			film := bytes.Clone(stored)
			matrix := film[bytes.Index(film, []byte("tkhd"))+44:]
			for i, v := range []int32{test.a, test.b, 0, test.c, test.d} {
				binary.BigEndian.PutUint32(matrix[4*i:], uint32(v<<16))
			}
			path := filepath.Join(t.TempDir(), "film.mp4")
			if err := os.WriteFile(path, film, 0o600); err != nil {
				t.Fatal(err)
			}
			p := bgr(t, path)
			want := ffmpeg.Layout{Width: 160, Height: 120}
			if test.turned {
				want = ffmpeg.Layout{Width: 120, Height: 160}
			}
			if p.layout != want || len(p.pictures) != 5 {
				t.Fatalf("%d pictures of %+v, want 5 of %+v", len(p.pictures), p.layout, want)
			}
			for channel, at := range [][2]int{test.blue, test.green, test.red} {
				b, g, r := p.pixel(4, at[0]*want.Width/100, at[1]*want.Height/100)
				for i, v := range []byte{b, g, r} {
					if (v > 128) != (i == channel) {
						t.Errorf("at %v %%: blue %d, green %d, red %d", at, b, g, r)
					}
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	film, err := os.ReadFile(made(t, "film.mp4", append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=0.5"}, h264...)...))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"-i.mp4", "a:b.mp4", "http:x.mp4", "new\nline.mp4", "caf\xe9.mp4", "100%d %s.mp4", "[a]{b}*?'\"\\.mp4", "no extension"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, film, 0o600); err != nil {
				t.Fatal(err)
			}
			if p := play(t.Context(), path); len(p.pictures) != 5 || p.err != nil {
				t.Errorf("%d pictures, %v", len(p.pictures), p.err)
			}
		})
	}
}

// TestListsAreNotFollowed: what only names other files opens none of them.
func TestListsAreNotFollowed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	film := filepath.Join(folder, "film.ts")
	coded(t, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1"}, append(h264, film)...)...)
	for name, text := range map[string]string{
		"list.m3u8":     "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + film + "\n#EXT-X-ENDLIST\n",
		"renamed.mp4":   "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfilm.ts\n#EXT-X-ENDLIST\n",
		"list.ffconcat": "ffconcat version 1.0\nfile film.ts\n",
		"list.sdp":      "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ffmpeg.Probe(t.Context(), path); !errors.Is(err, ffmpeg.ErrNoVideo) || !strings.Contains(err.Error(), "only names other files") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCutShort cuts films whose container notes how long they are.
func TestCutShort(t *testing.T) {
	t.Parallel()
	input := []string{"-f", "lavfi", "-i", "testsrc=s=160x120:r=10:d=6", "-f", "lavfi", "-i", "sine=d=6"}
	for name, args := range map[string][]string{
		"film.mp4": append(append(input, h264...), "-g", "10", "-movflags", "+faststart"),
		"film.mkv": append(append(input, h264...), "-g", "10"),
		"film.avi": append(input, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
		"film.flv": append(append(input, h264...), "-g", "10", "-an"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := made(t, name, args...)
			if p := play(t.Context(), whole); p.err != nil || len(p.pictures) != 60 {
				t.Fatalf("whole: %d pictures, %v", len(p.pictures), p.err)
			}
			data, err := os.ReadFile(whole)
			if err != nil {
				t.Fatal(err)
			}
			for _, percent := range []int{30, 60, 80} {
				path := filepath.Join(t.TempDir(), name)
				if err := os.WriteFile(path, data[:len(data)*percent/100], 0o600); err != nil {
					t.Fatal(err)
				}
				p := play(t.Context(), path)
				if !errors.Is(p.err, ffmpeg.ErrEarly) && !errors.Is(p.err, ffmpeg.ErrNoVideo) || len(p.pictures) >= 59 {
					t.Errorf("%d %%: %d pictures, %v", percent, len(p.pictures), p.err)
				}
			}
		})
	}
}

// TestCutShortBetweenReferences cuts a film whose pictures are not stored in their order: one that is there may be of a later time than
// many that are not.
func TestCutShortBetweenReferences(t *testing.T) {
	t.Parallel()
	whole := made(t, "film.mp4", "-f", "lavfi", "-i", "testsrc=s=160x120:r=10:d=6", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "16", "-b_strategy", "0", "-g", "60", "-movflags", "+faststart")
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	early := 0
	for percent := 50; percent < 100; percent += 2 {
		path := filepath.Join(t.TempDir(), "film.mp4")
		if err := os.WriteFile(path, data[:len(data)*percent/100], 0o600); err != nil {
			t.Fatal(err)
		}
		p := play(t.Context(), path)
		if errors.Is(p.err, ffmpeg.ErrEarly) {
			early++
		}
		if p.err == nil && len(p.pictures) < 52 { // a tenth of it, and a picture and a half, is not missed
			t.Errorf("%d %%: %d of 60 pictures, and it is complete", percent, len(p.pictures))
		}
	}
	if early == 0 {
		t.Error("none ends early")
	}
}

// TestBrokenJPEG: a picture of which only a part can be decoded is shown, and counted.
func TestBrokenJPEG(t *testing.T) {
	t.Parallel()
	path := made(t, "film.avi", "-f", "lavfi", "-i", "testsrc=s=320x180:r=10:d=1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	scan := bytes.Index(data, []byte("\xff\xda"))
	copy(data[scan+1000:], bytes.Repeat([]byte{0xfe}, 300)) // no code of a picture
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if p := play(t.Context(), path); p.err != nil || len(p.pictures) != 10 || p.corrupt != 1 {
		t.Errorf("%d pictures, %d corrupt, %v; want 10 and one", len(p.pictures), p.corrupt, p.err)
	}
}

// TestNotCutShort: what looks like an early end and is none.
func TestNotCutShort(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pictures int
		args     []string
	}{
		"its sound is longer.mkv":       {10, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1", "-f", "lavfi", "-i", "sine=d=5"}, h264...)},
		"its sound is longer.mp4":       {10, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1", "-f", "lavfi", "-i", "sine=d=5"}, h264...)},
		"its last picture stays.mp4":    {11, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=2", "-vf", "select=lt(n\\,10)+eq(n\\,19)", "-fps_mode", "passthrough"}, h264...)},
		"it has but one picture.mp4":    {1, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=1:d=1"}, h264...)},
		"nobody noted its length.webm":  {10, []string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1", "-c:v", "libvpx", "-f", "webm", "-live", "1"}},
		"a clock that jumps back.ts":    {20, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=2", "-bsf:v", "setts=ts=TS-gte(N\\,10)*180000"}, append(h264, "-bf", "0")...)},
		"a clock that jumps forward.ts": {20, append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=2", "-bsf:v", "setts=ts=TS+gte(N\\,10)*324000000"}, append(h264, "-bf", "0")...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := play(t.Context(), made(t, name, test.args...))
			if p.err != nil || len(p.pictures) != test.pictures || p.corrupt != 0 {
				t.Errorf("%d pictures, %d corrupt, %v; want %d; %+v", len(p.pictures), p.corrupt, p.err, test.pictures, p.info)
			}
			for i := 1; i < len(p.times); i++ {
				if gap := p.times[i] - p.times[i-1]; gap <= 0 || gap > 2*time.Second {
					t.Errorf("picture %d is %v after the one before", i, gap)
				}
			}
		})
	}
}

// TestVariableRate: each picture keeps the time that the film gives it.
func TestVariableRate(t *testing.T) {
	t.Parallel()
	path := made(t, "film.mkv", append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1", "-vf", "setpts=N*N*0.1/TB", "-fps_mode", "passthrough"}, append(h264, "-bf", "2")...)...)
	listed, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for line := range strings.Lines(string(listed)) {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, seconds)
	}
	slices.Sort(want) // from the order of decoding
	p := play(t.Context(), path)
	if p.err != nil || len(p.pictures) != 10 {
		t.Fatalf("%d pictures, %v", len(p.pictures), p.err)
	}
	for i, at := range p.times {
		if math.Abs(at.Seconds()-want[i]) > .001 {
			t.Errorf("picture %d is of %v, want %v s", i, at, want[i])
		}
	}
}

// TestColours: a grey, a red, a green and a blue stripe are what they were, whatever matrix and range they were stored in, and come
// the same in both layouts.
func TestColours(t *testing.T) {
	t.Parallel()
	stripes := "color=gray:s=16x64:r=5:d=1[a];color=red:s=16x64:r=5:d=1[b];color=lime:s=16x64:r=5:d=1[c];color=blue:s=16x64:r=5:d=1[d];[a][b][c][d]hstack=4,format=rgb24"
	for name, test := range map[string]struct {
		scale, format string
		tags          []string
		planar        bool
	}{
		"BT.601":              {"out_color_matrix=bt601:out_range=tv", "yuv420p", []string{"-colorspace", "smpte170m"}, true},
		"nothing said":        {"out_color_matrix=bt601:out_range=tv", "yuv420p", nil, true},
		"BT.709":              {"out_color_matrix=bt709:out_range=tv", "yuv420p", []string{"-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"}, true},
		"BT.709, 10 bit":      {"out_color_matrix=bt709:out_range=tv", "yuv420p10le", []string{"-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"}, true},
		"BT.709, matrix only": {"out_color_matrix=bt709:out_range=tv", "yuv420p", []string{"-colorspace", "bt709"}, true},
		"full range":          {"out_color_matrix=bt601:out_range=pc", "yuv420p", []string{"-colorspace", "smpte170m", "-color_range", "pc"}, false},
		"BT.709, full range":  {"out_color_matrix=bt709:out_range=pc", "yuv420p", []string{"-colorspace", "bt709", "-color_range", "pc"}, false},
		"4:4:4":               {"out_color_matrix=bt709:out_range=tv", "yuv444p", []string{"-colorspace", "bt709"}, false},
		"BT.2020":             {"out_color_matrix=bt2020:out_range=tv", "yuv420p10le", []string{"-colorspace", "bt2020nc"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"-f", "lavfi", "-i", stripes, "-vf", "scale=" + test.scale + ",format=" + test.format, "-c:v", "libx264", "-crf", "1", "-pix_fmt", test.format}
			p := play(t.Context(), made(t, "film.mp4", append(args, test.tags...)...))
			if p.err != nil || len(p.pictures) != 5 || p.layout.Planar != test.planar {
				t.Fatalf("%d pictures of %+v, %v; %+v", len(p.pictures), p.layout, p.err, p.info)
			}
			for i, want := range [][3]int{{128, 128, 128}, {0, 0, 255}, {0, 255, 0}, {255, 0, 0}} {
				x, y := 16*i+8, 32
				var got [3]int
				if p.layout.Planar {
					got = fromI420(p.pictures[2], p.layout, x, y)
				} else {
					b, g, r := p.pixel(2, x, y)
					got = [3]int{int(b), int(g), int(r)}
				}
				for c := range want {
					if got[c] < want[c]-8 || got[c] > want[c]+8 {
						t.Errorf("stripe %d is %v, want %v", i, got, want)
						break
					}
				}
			}
		})
	}
}

// fromI420 is a pixel by ITU-R BT.601, limited range.
func fromI420(data []byte, l ffmpeg.Layout, x, y int) [3]int {
	luma := l.Width * l.Height
	chroma := (y/2)*(l.Width/2) + x/2
	c, u, v := 1.164*(float64(data[y*l.Width+x])-16), float64(data[luma+chroma])-128, float64(data[luma+luma/4+chroma])-128
	clip := func(v float64) int { return int(max(0, min(255, v+.5))) }
	return [3]int{clip(c + 2.017*u), clip(c - .392*u - .813*v), clip(c + 1.596*v)}
}

// TestShapeChange: a later size is fitted into the first, its shape kept.
func TestShapeChange(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var all []byte
	for _, size := range []string{"160x120", "64x128"} {
		part := filepath.Join(folder, size+".ts")
		coded(t, append([]string{"-f", "lavfi", "-i", "color=white:s=" + size + ":r=10:d=1"}, append(h264, part)...)...)
		data, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	path := filepath.Join(folder, "film.ts")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	p := bgr(t, path)
	if len(p.pictures) != 20 || (p.layout != ffmpeg.Layout{Width: 160, Height: 120}) {
		t.Fatalf("%d pictures of %+v", len(p.pictures), p.layout)
	}
	for i, want := range map[int]bool{5: true, 15: false} { // at the edge: white, then a bar
		if b, _, _ := p.pixel(i, 4, 60); (b > 128) != want {
			t.Errorf("picture %d is %d at its edge", i, b)
		}
		if b, _, _ := p.pixel(i, 80, 60); b < 128 {
			t.Errorf("picture %d is %d in its middle", i, b)
		}
	}
}

// TestDeinterlaced: of a stripe that moves sideways, every second row is of another moment; once deinterlaced, rows are alike.
func TestDeinterlaced(t *testing.T) {
	t.Parallel()
	path := made(t, "film.mpg", "-f", "lavfi", "-i", "color=black:s=320x240:r=50:d=1,drawbox=x=t*200:y=0:w=40:h=240:color=white:t=fill,interlace", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2")
	p := bgr(t, path)
	if len(p.pictures) < 20 {
		t.Fatalf("%d pictures", len(p.pictures))
	}
	combed := 0
	for y := 20; y < 220; y++ {
		for x := range 320 {
			above, _, _ := p.pixel(12, x, y-1)
			here, _, _ := p.pixel(12, x, y)
			if int(here)-int(above) > 100 || int(above)-int(here) > 100 {
				combed++
			}
		}
	}
	if combed > 200 {
		t.Errorf("%d pixels differ from those above them", combed)
	}
}

func TestDecodeArgs(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"": "", "-hwaccel cuda": "-hwaccel cuda", "-hwaccel  vaapi -hwaccel_device /dev/dri/renderD128": "-hwaccel vaapi -hwaccel_device /dev/dri/renderD128", "-c:v h264_cuvid": "-c:v h264_cuvid",
	} {
		if args, err := ffmpeg.DecodeArgs(words); err != nil || strings.Join(args, " ") != want {
			t.Errorf("%q: %q, %v", words, args, err)
		}
	}
	for _, words := range []string{"-i other.mp4", "out.mp4", "-y", "-hwaccel cuda out.mp4", "-protocol_whitelist http", "-f:v concat", "-init_hw_device http://x", "-f concat"} {
		if args, err := ffmpeg.DecodeArgs(words); !errors.Is(err, ffmpeg.ErrArgs) {
			t.Errorf("%q: %q, %v", words, args, err)
		}
	}
	path := made(t, "film.mp4", append([]string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1"}, h264...)...)
	info, err := ffmpeg.Probe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	film, err := ffmpeg.OpenFilm(t.Context(), path, info, ffmpeg.FilmOptions{Args: []string{"-hwaccel", "no such thing"}})
	if err != nil {
		t.Fatal(err)
	}
	defer film.Close()
	if _, err := film.Next(t.Context(), func(ffmpeg.Layout) []byte { return nil }); !errors.Is(err, ffmpeg.ErrDecode) || !strings.Contains(fmt.Sprint(err), "hwaccel") {
		t.Errorf("an acceleration that is not there: %v", err)
	}
}
