package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// tab opens a page in a real browser.
func tab(t *testing.T, url string) context.Context {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	if path == "" {
		path = "chromium"
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(patience), chromedp.ExecPath(path))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, leave := chromedp.NewContext(ctx)
	t.Cleanup(func() { leave(); stop() })
	if err := chromedp.Do(ctx); err != nil { // starts the browser
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// ask evaluates an expression in the page.
func ask[T any](t *testing.T, page context.Context, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(page, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// The whole path into a real browser: the boxes of the scene's own JSON are where the page draws them, and the heat map
// changes the picture.
func TestSceneReachesTheBrowser(t *testing.T) {
	t.Parallel()
	const frames = 40
	up := newUp(t, pictures(t, frames))
	up.ExitWhenDone = false
	address := make(chan net.Addr, 1)
	pipe := piped(t, up, func(a net.Addr) { address <- a })
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- pipe.Run(ctx, io.Discard, io.Discard, quiet) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	base := "http://" + (<-address).String()
	page := tab(t, base)
	eventually(t, "the page shows the last scene and says that the source is complete", func() bool {
		return ask[bool](t, page, fmt.Sprintf(`document.body.dataset.seq === "%d" && document.body.dataset.state === "complete"`, frames))
	})
	scene := newestScene(t, base+"/api/v1/sources/stripes/scene")
	if scene.Frame.Seq != frames || len(scene.Detections) != 8 {
		t.Fatalf("newest scene %+v", scene)
	}
	pixel := func(x, y float32) []int {
		return ask[[]int](t, page, fmt.Sprintf(`[...document.getElementById("view").getContext("2d").getImageData(%d, %d, 1, 1).data]`, int(x), int(y)))
	}
	ask[bool](t, page, `(document.getElementById("heat").checked && document.getElementById("heat").click(), true)`)
	box := scene.Detections[0].Box
	middle := (box[1] + box[3]) / 2
	grey := func(p []int) bool { return max(p[0], p[1], p[2])-min(p[0], p[1], p[2]) < 12 }
	eventually(t, "without the heat map the picture is grey inside the box", func() bool { return grey(pixel((box[0]+box[2])/2, middle)) })
	if edge := pixel(box[0], middle); grey(edge) {
		t.Errorf("the left edge of box %v has the picture's own grey %v", box, edge)
	}
	if off := pixel(box[0]-20, middle); box[0] > 20 && !grey(off) {
		t.Errorf("20 px beside box %v the picture is coloured: %v", box, off)
	}
	ask[bool](t, page, `(document.getElementById("heat").click(), true)`)
	eventually(t, "with the heat map it is not", func() bool { return !grey(pixel((box[0]+box[2])/2, middle)) })
}

func newestScene(t *testing.T, url string) api.Scene {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var scene api.Scene
	if err := json.NewDecoder(response.Body).Decode(&scene); err != nil {
		t.Fatal(err)
	}
	return scene
}
