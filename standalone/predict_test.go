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
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/bus"
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
	up.Listening = func(a net.Addr) { address <- a.String() }
	if change != nil {
		change(up)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- up.RunPipeline(ctx, io.Discard, io.Discard, quiet) }()
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

// Every reference picture posted: the boxes of Ultralytics' own run, each, and a depth map of the picture's size.
func TestPredictAgreesWithUltralytics(t *testing.T) {
	t.Parallel()
	folder, ok := shared(t)
	if !ok {
		return
	}
	post := predicting(t, func(u *Up) {
		u.DetectModel = filepath.Join(folder, "models", "yolov8n_int8.onnx")
		u.DepthModel, u.DepthSize = filepath.Join(folder, "vectors", "da_v2_dynamic", "model.onnx"), 252
	})
	var reference struct {
		Images map[string]struct {
			Width, Height int
			Detections    []struct {
				Box   [4]float32 `json:"xyxy"`
				Score float32    `json:"score"`
				Class int        `json:"class"`
			} `json:"detections"`
		} `json:"images"`
	}
	readJSON(t, filepath.Join(folder, "vectors", "yolov8n_int8", "expected.json"), &reference)
	found, total := 0, 0
	for name, want := range reference.Images {
		data, err := os.ReadFile(filepath.Join(folder, "data", "images", name))
		if err != nil {
			t.Fatal(err)
		}
		code, got := post("", data)
		if code != http.StatusOK || len(got.Detections) != len(want.Detections) {
			t.Errorf("%s: %d %s, %d boxes, want %d", name, code, got.Error, len(got.Detections), len(want.Detections))
		}
		for _, w := range want.Detections {
			total++
			for _, d := range got.Detections {
				if d.ClassID == w.Class && overlap(w.Box, d.Box) > 0.95 && d.Score-w.Score < .01 && w.Score-d.Score < .01 {
					found++
					break
				}
			}
		}
		if size, err := jpeg.DecodeConfig(bytes.NewReader(got.DepthMap)); err != nil || size.Width != want.Width || size.Height != want.Height {
			t.Errorf("%s: depth map of %dx%d, %v, want %dx%d", name, size.Width, size.Height, err, want.Width, want.Height)
		}
	}
	if total != 94 || found != total {
		t.Errorf("%d of %d boxes are found, want 94 of 94", found, total)
	}
}

// What cameras and telephones make: 4K, and what does not fit into a message. Boxes and map are of the posted size.
func TestPredictLargePictures(t *testing.T) {
	t.Parallel()
	post := predicting(t, nil)
	for _, size := range []struct{ width, height, quality int }{{3840, 2160, 90}, {4000, 3000, 95}} {
		data := grey(t, size.width, size.height, size.quality)
		if size.quality > 90 && len(data) <= bus.MaxMessage {
			t.Fatalf("%+v takes %d bytes: it must not fit into a message", size, len(data))
		}
		code, p := post("", data)
		if code != http.StatusOK || len(p.Detections) == 0 {
			t.Fatalf("%+v, %d bytes: %d %s, %d boxes", size, len(data), code, p.Error, len(p.Detections))
		}
		if got, err := jpeg.DecodeConfig(bytes.NewReader(p.DepthMap)); err != nil || got.Width != size.width || got.Height != size.height {
			t.Errorf("%+v: depth map of %dx%d, %v", size, got.Width, got.Height, err)
		}
		reach := float32(0)
		for _, d := range p.Detections {
			reach = max(reach, d.Box[2]/float32(size.width))
		}
		if reach < .3 || reach > 1 { // the model of no cost always says the same, all over the picture
			t.Errorf("%+v: boxes reach to %.2f of the width", size, reach)
		}
	}
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
