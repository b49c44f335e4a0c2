package rtsptest

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"testing"
)

// Clip is a short film, coded as a camera does, that is sent again and again.
type Clip struct {
	Codec  string // h264, hevc or mjpeg
	FPS    int
	GOP    int  // from one key frame to the next
	B      bool // every P-frame comes before two B-frames; the clip has a whole number of threes after its key frame
	Width  int
	Height int
	units  [][][]byte // NAL units of each access unit
}

// Encode makes a clip of so many pictures, 25 a second, with a key frame at every tenth, by FFmpeg.
func Encode(t testing.TB, codec string, width, height, pictures int) Clip {
	t.Helper()
	return Clip{Codec: codec, FPS: 25, GOP: 10, Width: width, Height: height}.Encode(t, pictures)
}

// Encode makes the clip, by FFmpeg.
func (c Clip) Encode(t testing.TB, pictures int) Clip {
	t.Helper()
	args := []string{"-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=%dx%d:rate=%d", c.Width, c.Height, c.FPS), "-frames:v", strconv.Itoa(pictures)}
	switch c.Codec {
	case "h264":
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", strconv.Itoa(c.GOP))
		if c.B {
			args = append(args, "-x264-params", "aud=1:bframes=2:b-adapt=0:b-pyramid=none:scenecut=0", "-f", "h264")
		} else {
			args = append(args, "-tune", "zerolatency", "-x264-params", "aud=1", "-f", "h264")
		}
	case "hevc":
		args = append(args, "-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-x265-params", fmt.Sprintf("aud=1:keyint=%d:log-level=none:pools=1", c.GOP), "-f", "hevc")
	case "mjpeg":
		args = append(args, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-huffman", "default", "-f", "mjpeg")
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(args, "pipe:1")...)
	cmd.Stderr = &stderr
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("encode a clip: %v: %s", err, stderr.String())
	}
	if c.Codec == "mjpeg" {
		for _, picture := range bytes.Split(data, []byte("\xff\xd8\xff"))[1:] {
			c.units = append(c.units, [][]byte{append([]byte("\xff\xd8\xff"), picture...)})
		}
		return c
	}
	for _, nalu := range bytes.Split(data, []byte{0, 0, 1})[1:] {
		nalu = bytes.TrimRight(nalu, "\x00") // of the next start code
		if c.Codec == "h264" && nalu[0]&0x1f == 9 || c.Codec == "hevc" && nalu[0]>>1&0x3f == 35 {
			c.units = append(c.units, nil) // an access unit delimiter
			continue
		}
		last := len(c.units) - 1
		c.units[last] = append(c.units[last], nalu)
	}
	return c
}

// shown is how many pictures later than it is sent the nth of the clip's is shown.
func (c Clip) shown(n int) int {
	switch {
	case !c.B || n == 0:
		return 0
	case n%3 == 1: // a P-frame
		return 2
	}
	return -1
}
