package producer_test

import (
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/producer/source"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp/rtsptest"
)

// A look says what there is, or why there is nothing, and no secret.
func TestProbe(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 160, 96, 30))
	camera.User, camera.Password = "admin", password
	camera.Start()
	snapshots := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = jpeg.Encode(w, image.NewGray(image.Rect(0, 0, 64, 48)), nil)
	}))
	t.Cleanup(snapshots.Close)
	folder := pictures(t, 3)
	if err := os.WriteFile(filepath.Join(folder, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		arg  string
		says []string
		err  error
	}{
		"camera":    {"rtsp://admin:" + password + "@" + camera.Address() + "/live", []string{"transport TCP", "authentication digest", "codec H.264", "160x96", "pictures/s over", "mode live"}, nil},
		"refused":   {"rtsp://admin:p@ss/wrong@" + camera.Address() + "/live", []string{"kind camera over RTSP"}, source.ErrRefused},
		"snapshots": {"door=" + snapshots.URL + "/shot?pw=p@ss#fps=5", []string{"name door", "every 200ms", "64x48"}, nil},
		"folder":    {folder, []string{"kind folder", "beside them 1 file passed over: 1 no picture", "mode lossless"}, nil},
		"film":      {movie(t, 5, 64, 48), []string{"kind film", "64x48, turned as it says", "mode lossless"}, nil},
		"street":    {"street:?size=64x64", []string{"generated street", "64x64"}, nil},
		"nothing":   {filepath.Join(folder, "none.mp4"), nil, source.ErrOpen},
	} {
		t.Run(name, func(t *testing.T) {
			facts, err := producer.Probe(t.Context(), test.arg)
			if !errors.Is(err, test.err) {
				t.Errorf("%v, want %v", err, test.err)
			}
			var all strings.Builder
			for _, f := range facts {
				fmt.Fprintln(&all, f.Name, f.Value)
			}
			for _, want := range test.says {
				if !strings.Contains(all.String(), want) {
					t.Errorf("%q is not said in:\n%s", want, all.String())
				}
			}
			secrets(t, name, fmt.Sprint(all.String(), err))
		})
	}
}
