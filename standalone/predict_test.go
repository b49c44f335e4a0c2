package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// prediction is what a client of the replaced system reads.
type prediction struct {
	Detections []struct {
		Box        [4]float32 `json:"bbox"`
		Score      float32    `json:"conf"`
		ClassID    int        `json:"class_id"`
		Label      string     `json:"label"`
		DepthScore float32    `json:"depth_score"`
	} `json:"detections"`
	DepthMap []byte `json:"depth_map"`
	Error    string `json:"error"`
}

// running is the gateway's address of a pipeline without sources, which runs until the test ends.
func running(t testing.TB, change func(*Up)) (gateway string) {
	t.Helper()
	up := newUp(t)
	up.ExitWhenDone = false
	address := make(chan string, 1)
	if change != nil {
		change(up)
	}
	pipe := piped(t, up, func(a net.Addr) { address <- a.String() })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pipe.Run(ctx, io.Discard, io.Discard, quiet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("pipeline: %v", err)
		}
	})
	select {
	case a := <-address:
		return "http://" + a
	case err := <-ended:
		ended <- nil
		t.Fatalf("pipeline ended: %v", err)
	}
	return ""
}

// predicting posts to /predict of a pipeline that runs until the test ends.
func predicting(t testing.TB, change func(*Up)) (post func(query string, picture []byte) (int, prediction)) {
	t.Helper()
	url := running(t, change) + "/predict"
	client := &http.Client{Timeout: patience}
	post = func(query string, picture []byte) (int, prediction) {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", "frame.jpg")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write(picture)
		form.Close()
		answer, err := client.Post(url+query, form.FormDataContentType(), &body)
		if err != nil {
			t.Error(err)
			return 0, prediction{}
		}
		defer answer.Body.Close()
		var p prediction
		if err := json.NewDecoder(answer.Body).Decode(&p); err != nil {
			t.Errorf("%d: %v", answer.StatusCode, err)
		}
		return answer.StatusCode, p
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		code, p := post("", grey(t, 64, 48, 90))
		if code == http.StatusOK {
			return post
		}
		if time.Since(begin) > patience {
			t.Fatalf("still %d %s", code, p.Error)
		}
	}
}

// grey is a JPEG with something to see in it.
func grey(t testing.TB, width, height, quality int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = uint8(i*i>>7) | uint8(i)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// BenchmarkPredict is POST /predict over the whole pipeline with models of no cost, depth at 252, by picture size,
// callers at once, and size of the answered map: pictures per second.
func BenchmarkPredict(b *testing.B) {
	post := predicting(b, func(u *Up) { u.DepthSize = 252 })
	for _, size := range []image.Point{{X: 768, Y: 576}, {X: 1920, Y: 1440}} {
		data := photo(b, size.X, size.Y)
		for _, query := range []string{"", "?depth_size=map"} {
			for _, callers := range []int{1, 4, 16} {
				b.Run(fmt.Sprintf("%dx%d/callers=%d%s", size.X, size.Y, callers, strings.Replace(query, "?depth_size=", "/depth_size=", 1)), func(b *testing.B) {
					var failed atomic.Int64
					left := make(chan struct{}, b.N)
					for range b.N {
						left <- struct{}{}
					}
					close(left)
					done := make(chan struct{})
					b.ResetTimer()
					for range callers {
						go func() {
							for range left {
								if code, _ := post(query, data); code != http.StatusOK {
									failed.Add(1)
								}
							}
							done <- struct{}{}
						}()
					}
					for range callers {
						<-done
					}
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
					if failed.Load() > 0 {
						b.Errorf("%d of %d failed", failed.Load(), b.N)
					}
				})
			}
		}
	}
}

// photo is a JPEG that takes about as many bytes as a photograph does.
func photo(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for y := range height {
		for x := range width {
			img.Y[y*img.YStride+x] = uint8(x*255/width/2+y*255/height/2) ^ uint8((x/16+y/16)%2*40) + uint8(x*y%7)
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(100+i%50), uint8(120+i%31)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
