package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp/rtsptest"
)

const patience = 3 * time.Minute

func openURI(t *testing.T, uri string, o Options) (Source, Info, error) {
	t.Helper()
	spec, err := parseSource(uri, Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	s, info, err := Open(t.Context(), spec, o)
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, info, err
}

// take takes the next picture as a JPEG.
func take(t *testing.T, s Source) (Picture, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := s.Next(ctx)
	if err == nil {
		p.Finish()
		if p.Broken != "" {
			t.Fatal(p.Broken)
		}
		if _, err := jpeg.Decode(bytes.NewReader(p.Data)); err != nil {
			t.Fatal(err)
		}
	}
	return p, err
}

// Pictures of a camera come whole, with the time at which they arrived, in every codec; when their size changes that is said once.
func TestRTSPCamera(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"h264", "h264 with B-frames", "hevc", "mjpeg"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			clip := rtsptest.Clip{FPS: 25, GOP: 31, Width: 160, Height: 96}
			codec, clip.B = strings.CutSuffix(codec, " with B-frames")
			clip.Codec = codec
			camera := rtsptest.New(t, clip.Encode(t, 31))
			large := rtsptest.Encode(t, codec, 320, 240, 30)
			camera.User, camera.Password = "admin", "p@ss:w/rd#1%20"
			camera.Start()
			s, info, err := openURI(t, "rtsp://admin:p@ss:w/rd#1%20@"+camera.Address()+"/live", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !info.Camera {
				t.Error("it is no camera")
			}
			before := time.Time{}
			for range 40 {
				p, err := take(t, s)
				if err != nil {
					t.Fatal(err)
				}
				if p.Width != 160 || p.Height != 96 || !p.Captured.After(before) || p.Captured.After(time.Now()) {
					t.Errorf("%dx%d at %v, the one before at %v", p.Width, p.Height, p.Captured, before)
				}
				before = p.Captured
			}
			camera.Change(large)
			resized := 0
			for width := 160; width == 160 || resized == 0 && codec != "mjpeg"; {
				p, err := take(t, s)
				switch {
				case errors.Is(err, ErrResized):
					resized++
					width = 320
				case err != nil:
					t.Fatal(err)
				case p.Width != width && codec != "mjpeg":
					t.Fatalf("a picture of %dx%d after %d changes", p.Width, p.Height, resized)
				default:
					width = p.Width
				}
			}
			if p, err := take(t, s); err != nil || p.Width != 320 || p.Height != 240 {
				t.Errorf("%dx%d, %v", p.Width, p.Height, err)
			}
			camera.Stop()
			for err == nil {
				_, err = take(t, s)
			}
			if !errors.Is(err, reason.ErrNetwork) {
				t.Error(err)
			}
		})
	}
}

// A camera that sends no parameter sets is told so.
func TestNoParameters(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 64, 64, 10))
	camera.Packets = rtsptest.NoParameters
	camera.Start()
	if _, _, err := openURI(t, camera.URL(), Options{}); !errors.Is(err, reason.ErrAnswer) || !strings.Contains(err.Error(), "parameter sets") {
		t.Error(err)
	}
}

// With decode=keys, and while there is not time for more, key frames alone are decoded, and that is said.
func TestKeysOnly(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 160, 96, 30)) // 30 different pictures, a key frame at every tenth
	camera.Start()
	busy := new(coded.Load)
	busy.Late(time.Now().Add(time.Hour)) // for long
	for fragment, note := range map[string]string{"": noteKeys, "#decode=keys": "", "#decode=auto": noteKeys} {
		s, _, err := openURI(t, camera.URL()+fragment, Options{Load: busy})
		if err != nil {
			t.Fatal(err)
		}
		different := map[string]bool{}
		for range 4 {
			p, err := take(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if p.Note != note {
				t.Errorf("%q: the note is %q", fragment, p.Note)
			}
			different[string(p.Data)] = true
		}
		if len(different) > 3 {
			t.Errorf("%q: %d different pictures, of 3 key frames", fragment, len(different))
		}
	}
	s, _, err := openURI(t, camera.URL()+"#decode=all", Options{Load: busy})
	if err != nil {
		t.Fatal(err)
	}
	for different := map[string]bool{}; len(different) < 15; {
		p, err := take(t, s)
		if err != nil || p.Note != "" {
			t.Fatal(p.Note, err)
		}
		different[string(p.Data)] = true
	}
}

// A camera over HTTP gives its pictures, and a film at an address is one, with an end.
func TestHTTPCamera(t *testing.T) {
	t.Parallel()
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	film, err := os.ReadFile(filmOf(t, 12))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
			for {
				if _, err := fmt.Fprintf(w, "Content-Type: image/jpeg\r\n\r\n%s\r\n--b\r\n", picture.Bytes()); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		case "/snapshot":
			_, _ = w.Write(picture.Bytes())
		case "/film":
			w.Header().Set("Content-Type", "video/mp4")
			_, _ = w.Write(film)
		case "/nofilm":
			w.Header().Set("Content-Type", "video/mp4")
			_, _ = w.Write(film[len(film)/2:])
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	for _, path := range []string{"/stream", "/snapshot#fps=50"} {
		s, info, err := openURI(t, server.URL+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if p, err := take(t, s); err != nil || p.Width != 64 || p.Height != 48 {
				t.Errorf("%s: %dx%d, %v", path, p.Width, p.Height, err)
			}
		}
		if !info.Camera {
			t.Errorf("%s is no camera", path)
		}
		if _, _, err := openURI(t, server.URL+strings.Split(path, "#")[0]+"#mode=lossless", Options{}); !errors.Is(err, ErrConfig) {
			t.Errorf("%s, lossless: %v", path, err)
		}
	}
	for _, fragment := range []string{"", "#mode=lossless"} {
		s, info, err := openURI(t, server.URL+"/film"+fragment, Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for err == nil {
			if _, err = take(t, s); err == nil {
				n++
			}
		}
		if n != 12 || info.Camera || info.FPS != 25 {
			t.Errorf("a film of 12 pictures gives %d, then %v; %+v", n, err, info)
		}
	}
	if _, _, err := openURI(t, server.URL+"/nofilm", Options{}); !errors.Is(err, ErrFilm) {
		t.Error(err)
	}
}

// Reasons reach whoever opens a camera, and no secret does.
func TestCameraReasons(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 64, 64, 10))
	camera.User, camera.Password = "admin", "right"
	camera.Start()
	nobody := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })) // it closes the connection
	t.Cleanup(nobody.Close)
	for uri, want := range map[string]error{
		"rtsp://admin:S3cr/et@" + camera.Address() + "/live":                          ErrRefused,
		"rtsp://admin:right@" + camera.Address() + "/S3cr":                            reason.ErrNotFound,
		"http://admin:S3cr#et@" + nobody.Listener.Addr().String() + "/live?pw=S3cret": reason.ErrNetwork,
	} {
		_, _, err := openURI(t, uri, Options{})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if want != reason.ErrNotFound && strings.Contains(err.Error(), "S3cr") {
			t.Errorf("a secret is told: %v", err)
		}
	}
}
