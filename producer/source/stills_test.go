package source

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
)

// Pictures of another size are another session's, over HTTP as over RTSP; one that is broken has no size.
func TestStillsResized(t *testing.T) {
	t.Parallel()
	sized := func(width int) []byte {
		var data bytes.Buffer
		if err := jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, width, 48)), nil); err != nil {
			t.Fatal(err)
		}
		return data.Bytes()
	}
	pictures := [][]byte{sized(64), []byte("\xff\xd8\xff\xd9"), sized(64), sized(128), sized(128), sized(64)}
	want := []string{"64", "0", "64", "resized", "128", "128", "resized", "64"}
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/snapshot" {
			_, _ = w.Write(pictures[min(int(asked.Add(1)), len(pictures))-1])
			return
		}
		w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
		for _, data := range pictures {
			fmt.Fprintf(w, "--b\r\nContent-Length: %d\r\n\r\n%s\r\n", len(data), data)
		}
	}))
	t.Cleanup(server.Close)
	for _, path := range []string{"/stream", "/snapshot#fps=50"} {
		s, _, err := openURI(t, server.URL+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range want {
			p, err := s.Next(t.Context())
			switch {
			case errors.Is(err, ErrResized):
				got = append(got, "resized")
			case err != nil:
				t.Fatal(err)
			default:
				got = append(got, fmt.Sprint(p.Width))
				p.Release()
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
