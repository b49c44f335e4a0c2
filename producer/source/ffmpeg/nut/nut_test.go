package nut_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg/nut"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := nut.NewWriter(&out, nut.Stream{Width: 320, Height: 180, Codec: [4]byte{'H', '2', '6', '4'}})
	frames := []struct {
		at   time.Duration
		key  bool
		data []byte
	}{{time.Hour, true, bytes.Repeat([]byte{1}, 100000)}, {time.Hour + 33*time.Millisecond, false, []byte{2}}, {time.Hour + time.Microsecond, false, nil}, {100 * 24 * time.Hour, true, []byte("N")}}
	for _, f := range frames {
		if err := w.WriteFrame(f.at, f.key, f.data); err != nil {
			t.Fatal(err)
		}
	}
	r := nut.NewReader(&out)
	stream, err := r.Header()
	if err != nil || (stream != nut.Stream{Width: 320, Height: 180, Codec: [4]byte{'H', '2', '6', '4'}}) {
		t.Fatalf("%+v, %v", stream, err)
	}
	for i, want := range frames {
		f, err := r.Next()
		if err != nil || f.Time != want.at || f.Key != want.key || f.Size != len(want.data) {
			t.Fatalf("frame %d: %+v, %v", i, f, err)
		}
		if i == 0 {
			continue // one that is not read is passed over
		}
		if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, want.data) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(data), err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// TestOfFFmpeg reads what ffmpeg writes, and has ffmpeg read what is written here.
func TestOfFFmpeg(t *testing.T) {
	t.Parallel()
	data, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=400x100:r=10:d=1", "-c:v", "rawvideo", "-pix_fmt", "bgr24", "-f", "nut", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	r := nut.NewReader(bytes.NewReader(data))
	if s, err := r.Header(); err != nil || s.Width != 400 || s.Height != 100 || string(s.Codec[:3]) != "BGR" {
		t.Fatalf("%+v, %v", s, err)
	}
	var out bytes.Buffer
	w := nut.NewWriter(&out, nut.Stream{Codec: [4]byte{'M', 'J', 'P', 'G'}})
	for i := range 10 {
		f, err := r.Next()
		if err != nil || f.Time != time.Duration(i)*100*time.Millisecond || f.Size != 400*100*3 {
			t.Fatalf("frame %d: %+v, %v", i, f, err)
		}
		if err := w.WriteFrame(time.Duration(i*i)*time.Second, i%2 == 0, []byte("picture")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	probe := exec.Command("ffprobe", "-v", "error", "-fflags", "+nofillin+noparse", "-f", "nut", "-i", "-", "-show_entries", "packet=pts_time,size,flags", "-of", "csv=p=0")
	probe.Stdin = &out
	listed, _ := probe.CombinedOutput() // it complains of what is no JPEG
	for _, want := range []string{"0.000000,7,K_", "1.000000,7,__", "81.000000,7,__"} {
		if !strings.Contains(string(listed), want) {
			t.Errorf("ffprobe does not say %s: %s", want, listed)
		}
	}
}

func FuzzReader(f *testing.F) {
	var out bytes.Buffer
	w := nut.NewWriter(&out, nut.Stream{Width: 4, Height: 4, Codec: [4]byte{'H', '2', '6', '4'}})
	for i := range 3 {
		if err := w.WriteFrame(time.Duration(i)*time.Second, i == 0, []byte("frame")); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(out.Bytes())
	f.Add(out.Bytes()[:60])
	f.Fuzz(func(t *testing.T, data []byte) {
		r := nut.NewReader(bytes.NewReader(data))
		if _, err := r.Header(); err != nil {
			return
		}
		for range 1000 {
			if _, err := r.Next(); err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				return
			}
		}
	})
}
