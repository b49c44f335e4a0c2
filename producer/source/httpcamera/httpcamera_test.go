package httpcamera_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/producer/source/httpcamera"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picture is a JPEG whose width is its number, with a thumbnail in it that ends as a JPEG does.
func picture(t testing.TB, number int) []byte {
	t.Helper()
	var data bytes.Buffer
	if err := jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, number, 16)), nil); err != nil {
		t.Fatal(err)
	}
	thumbnail := append([]byte("\xff\xe1\x00\x08"), "\xff\xd8\xff\xd9\x00\x00"...)
	return append(append([]byte("\xff\xd8"), thumbnail...), data.Bytes()[2:]...)
}

func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func config(t *testing.T, uri string) httpcamera.Config {
	t.Helper()
	a, err := address.Parse(uri, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return httpcamera.Config{Address: a, Timeout: 10 * time.Second, Silence: 10 * time.Second, Whole: time.Minute, Every: time.Millisecond}
}

func open(t *testing.T, uri string) (*httpcamera.Camera, error) {
	t.Helper()
	c, err := httpcamera.Open(t.Context(), config(t, uri))
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func number(t *testing.T, data []byte) int {
	t.Helper()
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("a picture of %d bytes: %v", len(data), err)
	}
	return c.Width
}

// Streams as cameras send them are read, each picture whole, and in order.
func TestStreams(t *testing.T) {
	t.Parallel()
	const pictures = 8
	for name, test := range map[string]struct {
		kind string // Content-Type
		send func(w io.Writer, i int, data []byte)
	}{
		"as it should be": {"multipart/x-mixed-replace; boundary=frame", func(w io.Writer, _ int, data []byte) {
			fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(data), data)
		}},
		"quotes and dashes": {`multipart/x-mixed-replace;boundary="--my boundary--"`, func(w io.Writer, _ int, data []byte) {
			fmt.Fprintf(w, "--my boundary--\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n", data)
		}},
		"ESP32, no first boundary": {"multipart/x-mixed-replace;boundary=123456789000000000000987654321", func(w io.Writer, _ int, data []byte) {
			fmt.Fprintf(w, "Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n--123456789000000000000987654321\r\n", len(data), data)
		}},
		"boundary behind an empty line": {"multipart/x-mixed-replace; boundary=b", func(w io.Writer, _ int, data []byte) {
			fmt.Fprintf(w, "\r\n\r\n--b\r\nX-Time: 12:00:00\r\nContent-type: image/jpeg\r\n\r\n%s", data)
		}},
		"lines that end with LF": {"multipart/x-mixed-replace; boundary=b", func(w io.Writer, _ int, data []byte) {
			fmt.Fprintf(w, "--b\nContent-Type: image/jpeg\nContent-Length:%d\n\n%s\n", len(data), data)
		}},
		"no boundary at all":          {"multipart/x-mixed-replace", func(w io.Writer, _ int, data []byte) { _, _ = w.Write(data) }},
		"JPEG behind JPEG":            {"video/x-motion-jpeg", func(w io.Writer, _ int, data []byte) { _, _ = w.Write(data) }},
		"a boundary that is no token": {"multipart/x-mixed-replace; boundary=a/b@c=", func(w io.Writer, _ int, data []byte) { fmt.Fprintf(w, "--a/b@c=\r\n\r\n%s\r\n", data) }},
		"parts called something else": {"application/octet-stream", func(w io.Writer, _ int, data []byte) {
			fmt.Fprintf(w, "--x\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n", data)
		}},
		"a length that is not believed": {"multipart/x-mixed-replace; boundary=b", func(w io.Writer, _ int, data []byte) { fmt.Fprintf(w, "--b\r\nContent-Length: -1\r\n\r\n%s\r\n", data) }},
		"what is between is passed over": {"multipart/x-mixed-replace; boundary=b", func(w io.Writer, i int, data []byte) {
			fmt.Fprintf(w, "--b\r\nContent-Length: %d\r\n\r\n%s%s\r\n", len(data), data, strings.Repeat("\x00", 1000*i))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				for i := range pictures {
					test.send(w, i, picture(t, 16+i))
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			})
			c, err := open(t, s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if c.Kind() != httpcamera.Stream {
				t.Errorf("it is a %s", c.Kind())
			}
			for i := range pictures {
				data, err := c.Next(t.Context())
				if err != nil {
					t.Fatalf("picture %d: %v", i, err)
				}
				if !bytes.Equal(data, picture(t, 16+i)) {
					t.Errorf("picture %d is another one, of %d bytes and width %d", i, len(data), number(t, data))
				}
			}
		})
	}
}

// A snapshot is asked for again and again, as one session; one that fails is asked for again.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		switch {
		case n == 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n%2 == 0:
			w.Header().Set("Content-Type", "image/png")
			_ = png.Encode(w, image.NewGray(image.Rect(0, 0, n, 4)))
		default:
			w.Header().Set("Content-Type", "text/plain") // some cameras do not care
			_, _ = w.Write(picture(t, n))
		}
	})
	c, err := open(t, s.URL+"/cgi-bin/snapshot.cgi?channel=1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 2, 4, 5, 6} {
		data, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := number(t, data); got != want {
			t.Errorf("picture %d, want %d", got, want)
		}
	}
}

// One request that fails does not lose a camera that is asked more seldom than it may be silent; two do.
func TestSeldom(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := int(asked.Add(1)); n == 2 || n > 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		} else {
			_, _ = w.Write(picture(t, n))
		}
	})
	c, err := open(t, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 3} {
		data, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := number(t, data); got != want {
			t.Errorf("picture %d, want %d", got, want)
		}
		c.Age(time.Minute)
	}
	if _, err := c.Next(t.Context()); !errors.Is(err, reason.ErrAnswer) || asked.Load() != 5 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

// challenges are how cameras ask who it is.
var challenges = map[string][]string{
	"basic":           {`Basic realm="cam, \"1\""`},
	"digest":          {`Digest realm="cam", nonce="abc", qop="auth", opaque="o"`},
	"digest, old":     {`Digest realm="cam", nonce="abc"`},
	"digest, SHA-256": {`Digest realm="cam", nonce=abc, qop="auth,auth-int", algorithm=SHA-256`},
	"digest, session": {`Digest realm="cam",nonce="abc",qop="auth",algorithm=MD5-sess`},
	"both":            {`Basic realm="cam"`, `Digest realm="cam", nonce="abc", qop="auth"`},
	"one not known":   {`Digest realm="cam", nonce="abc", algorithm=SHA-512-256`, `Digest realm="cam", nonce="abc", algorithm=MD5`},
}

// Any password is said in the way that the camera asks for, to it alone, and a wrong one once.
func TestAuthentication(t *testing.T) {
	t.Parallel()
	const user, password = "admin", "p@ss:w/rd#1%20"
	for name, challenge := range challenges {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if !knows(r, user, password) {
					w.Header()["Www-Authenticate"] = challenge
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				_, _ = w.Write(picture(t, 16))
			})
			for _, uri := range []string{"http://admin:" + password + "@" + s.Listener.Addr().String() + "/a?b=c", "http://admin:p%40ss%3Aw%2Frd%231%2520@" + s.Listener.Addr().String() + "/a?b=c"} {
				c, err := open(t, uri)
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if _, err := c.Next(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			before := asked.Load()
			if _, err := open(t, "http://admin:p@ss-no@"+s.Listener.Addr().String()); !errors.Is(err, reason.ErrRefused) || strings.Contains(err.Error(), "p@ss") {
				t.Errorf("a wrong password: %v", err)
			}
			if tried := asked.Load() - before; tried != 2 {
				t.Errorf("a wrong password took %d requests, want 2: cameras lock accounts", tried)
			}
			if _, err := open(t, s.URL); !errors.Is(err, reason.ErrRefused) || !strings.Contains(err.Error(), "http://user:password@") {
				t.Errorf("no password: %v", err)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	var told atomic.Int32
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			told.Add(1)
		}
		if r.URL.Path == "/locked" {
			w.Header().Set("WWW-Authenticate", `Basic realm="other"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(picture(t, 16))
	})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/picture" {
			_, _ = w.Write(picture(t, 16))
			return
		}
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="cam"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		to := map[string]string{"/own": "/picture", "/other": other.URL + "/picture", "/locked": other.URL + "/locked", "/ring": "/ring", "/file": "file:///etc/passwd"}[r.URL.Path]
		http.Redirect(w, r, to, http.StatusFound)
	})
	for path, want := range map[string]error{"/own": nil, "/other": nil, "/locked": reason.ErrAnswer, "/ring": reason.ErrAnswer, "/file": reason.ErrAnswer} {
		if _, err := open(t, "http://admin:secret@"+s.Listener.Addr().String()+path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if told.Load() > 0 {
		t.Error("the password went to another host")
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	answer := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	secure := httptest.NewTLSServer(answer("image/jpeg", "x"))
	secure.Config.ErrorLog = nil
	t.Cleanup(secure.Close)
	for name, test := range map[string]struct {
		uri  string
		want error
		says string
	}{
		"a page":        {serve(t, answer("text/html; charset=utf-8", "<!DOCTYPE html><h1>Camera</h1>")).URL, reason.ErrNoVideo, "text/html"},
		"HLS":           {serve(t, answer("application/vnd.apple.mpegurl", "#EXTM3U\nfile:///etc/passwd\n")).URL, reason.ErrNoVideo, "HLS"},
		"nothing known": {serve(t, answer("application/octet-stream", "hello")).URL, reason.ErrNoVideo, "no picture"},
		"nothing":       {serve(t, answer("image/jpeg", "")).URL, reason.ErrNetwork, "closed"},
		"not found":     {serve(t, http.NotFound).URL, reason.ErrNotFound, "404"},
		"broken":        {serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }).URL, reason.ErrAnswer, "500"},
		"packed": {serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			answer("image/jpeg", "\x1f\x8b\x08")(w, nil)
		}).URL, reason.ErrAnswer, "gzip"},
		"refused":         {gone.URL + "/?token=secret", reason.ErrNetwork, "connection refused"},
		"not trusted":     {secure.URL, reason.ErrNetwork, "TLS certificate"},
		"a name, unknown": {"http://no-such-camera.invalid/?token=secret", reason.ErrNetwork, "no-such-camera"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, test.uri)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %v that says %q", err, test.want, test.says)
			}
		})
	}
}

// A film is handed on from its first byte.
func TestFilm(t *testing.T) {
	t.Parallel()
	film := []byte("\x1a\x45\xdf\xa3" + strings.Repeat("film", 1000))
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(film) })
	c, err := open(t, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if _, err := c.Fetch(t.Context(), &data, int64(len(film))); c.Kind() != httpcamera.Film || err != nil || !bytes.Equal(data.Bytes(), film) {
		t.Errorf("a %s of %d bytes, %v", c.Kind(), data.Len(), err)
	}
	if c, err = open(t, s.URL); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(t.Context(), io.Discard, int64(len(film))-1); !errors.Is(err, httpcamera.ErrTooLarge) {
		t.Error(err)
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What a film can't be written to is not the camera's fault.
func TestFull(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x1a\x45\xdf\xa3film") })
	c, err := open(t, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fetch(t.Context(), full{}, 1<<20); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, reason.ErrNetwork) {
		t.Error(err)
	}
}

// A stream that says nothing more, or too much, is lost.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then string
		want error
	}{
		"silence":   {"", reason.ErrSilent},
		"no end":    {"\r\n\r\n" + strings.Repeat("x", 1<<20), reason.ErrAnswer},
		"too large": {"--b\r\nContent-Length: 99999999999\r\n\r\n", reason.ErrAnswer},
		"cut off":   {"cut", reason.ErrNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
				fmt.Fprintf(w, "--b\r\n\r\n%s%s", picture(t, 16), test.then)
				w.(http.Flusher).Flush()
				if test.then != "cut" {
					<-r.Context().Done()
				}
			})
			c, err := open(t, s.URL)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			if name == "silence" {
				c.SetSilence(300 * time.Millisecond)
			}
			if _, err := c.Next(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// Bytes that never become a picture do not keep a camera.
func TestNeverWhole(t *testing.T) {
	t.Parallel()
	for kind, begins := range map[string]string{
		"multipart/x-mixed-replace; boundary=b": "--b\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff\xda\x00\x02",
		"image/jpeg":                            "\xff\xd8\xff\xda\x00\x02" + strings.Repeat("x", 1000),
		"image/png":                             "\x89PNG", // less than is looked at
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", kind)
				_, _ = io.WriteString(w, begins)
				for r.Context().Err() == nil {
					_, _ = io.WriteString(w, "x")
					w.(http.Flusher).Flush()
					time.Sleep(20 * time.Millisecond)
				}
			})
			cfg := config(t, s.URL)
			cfg.Whole = time.Second
			c, err := httpcamera.Open(t.Context(), cfg)
			if err == nil {
				defer c.Close()
				_, err = c.Next(t.Context())
			}
			if !errors.Is(err, reason.ErrAnswer) || !strings.Contains(err.Error(), "no whole picture") {
				t.Error(err)
			}
		})
	}
}

// Whoever waits for a picture stops with its context.
func TestStop(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c, err := open(t, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrClosed)
	if _, err := c.Next(ctx); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
