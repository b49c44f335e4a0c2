package gateway_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// browser is a tab of a real browser.
type browser struct {
	t       *testing.T
	ctx     context.Context
	console *console
}

// console is what a page and the browser complain of.
type console struct {
	mu    sync.Mutex
	wrong []string
}

func (c *console) collect(messages iter.Seq2[chromedp.ConsoleMessage, error]) {
	for m, err := range messages {
		if err != nil {
			return // the tab is closed
		}
		if strings.HasPrefix(m.Text, "Canvas2D: Multiple readback") {
			continue // it is the test that reads
		}
		switch m.Type {
		case chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException:
			c.mu.Lock()
			c.wrong = append(c.wrong, fmt.Sprintf("%s (%s)", m, m.URL))
			c.mu.Unlock()
		}
	}
}

// complaints are what was complained of until now; away is told when the gateway may not have answered meanwhile.
func (c *console) complaints(away bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.wrong), func(text string) bool {
		return away && (strings.Contains(text, "net::ERR_") || strings.Contains(text, "WebSocket connection") || strings.Contains(text, "warning: status"))
	})
}

// newBrowser starts one; flags are further ones of it, name, value, name, value…
func newBrowser(t *testing.T, flags ...string) browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	for i := 0; i+1 < len(flags); i += 2 {
		options = append(options, chromedp.Flag(flags[i], flags[i+1]))
	}
	path := os.Getenv("CHROMIUM")
	if path == "" {
		path = "chromium"
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(options, chromedp.ExecPath(path))...)
	ctx, leave := chromedp.NewContext(ctx)
	t.Cleanup(func() { leave(); stop() })
	if err := chromedp.Do(ctx); err != nil { // starts the browser
		t.Fatal(err)
	}
	b := browser{t, ctx, new(console)}
	go b.console.collect(chromedp.Console(ctx))
	t.Cleanup(func() {
		for _, complaint := range b.console.complaints(true) {
			t.Errorf("the page's console: %s", complaint)
		}
	})
	return b
}

func (b browser) open(url string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatal(err)
	}
}

// ask evaluates an expression.
func ask[T any](b browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until an expression is true.
func (b browser) await(expression string) {
	b.t.Helper()
	b.awaitWithin(patience, expression)
}

func (b browser) awaitWithin(within time.Duration, expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(within); !ask[bool](b, "Boolean("+expression+")"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never came true: %s\nthe page says: %v", expression, ask[string](b, "JSON.stringify(document.body.dataset) + document.body.innerText"))
		}
	}
}

// pixel is a pixel of the drawn scene.
func (b browser) pixel(x, y int) []int {
	b.t.Helper()
	return ask[[]int](b, fmt.Sprintf(`[...document.getElementById("view").getContext("2d").getImageData(%d, %d, 1, 1).data]`, x, y))
}

// set changes a control as a person does.
func (b browser) set(id, property string, value any) {
	b.t.Helper()
	ask[bool](b, fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.%s = %#v;
		return e.dispatchEvent(new Event("input", {bubbles: true})) && e.dispatchEvent(new Event("change", {bubbles: true})); })()`, id, property, value))
}

const drawn = `document.body.dataset.seq === "%d" && document.body.dataset.source === "cam1" && document.body.dataset.picture === %q`

func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/")
	page.await(fmt.Sprintf(drawn, 1, "shown"))
	if size := ask[[]int](page, `[view.width, view.height]`); !cmp.Equal(size, []int{64, 48}) {
		t.Errorf("canvas of %v, want the picture's 64 × 48", size)
	}
	b.publish(t, "cam1", "s", 2)
	page.await(fmt.Sprintf(drawn, 2, "shown"))

	t.Run("controls", func(t *testing.T) { testControls(t, page) })
	if text := ask[string](page, `document.getElementById("detections").innerText`); !strings.Contains(text, "person") || !strings.Contains(text, "near 73 %") {
		t.Errorf("detections: %q", text)
	}
	page.await(`document.getElementById("words").textContent.endsWith("pose: people [1,null].")`) // a group that this page does not know
	page.await(`document.body.dataset.state === "running" && document.getElementById("latency").textContent.endsWith("s")`)

	alive := flow.Alive{Stage: "producer", Instance: "p", Sources: []flow.SourceStatus{{
		Source: "cam1", Session: "s", Mode: flow.ModeLossless, State: flow.StateComplete, Frames: 2,
	}}}
	if err := b.bus.PublishAlive(alive); err != nil {
		t.Fatal(err)
	}
	page.await(`document.getElementById("state").textContent === "complete — 2 frames"`)

	// The picture outlives the gateway; a later viewer is told that it is gone.
	if err := b.bus.SetPosition(t.Context(), "cam1", "s", flow.Position{Seq: 2}); err != nil {
		t.Fatal(err)
	}
	b.work(t)
	before := page.pixel(60, 40)
	r.stop()
	page.await(`document.body.dataset.connection === "reconnecting"`)
	r = b.startReady(t, func(c *gateway.Config) { c.HTTP = r.address })
	page.await(`document.body.dataset.connection === "open"`)
	if after := page.pixel(60, 40); !cmp.Equal(before, after) {
		t.Errorf("pixel %v, before the restart %v", after, before)
	}
	page.await(fmt.Sprintf(drawn, 2, "shown"))
	page.open("about:blank")
	page.open("http://" + r.address + "/#cam1")
	page.await(fmt.Sprintf(drawn, 2, "gone"))
	page.await(`!document.getElementById("notice").hidden`)
	b.publish(t, "cam1", "s", 3)
	page.await(fmt.Sprintf(drawn, 3, "shown"))
}

func testControls(t *testing.T, page browser) {
	heat := page.pixel(60, 40)
	page.set("colormap", "value", "viridis")
	page.await(fmt.Sprintf(`document.getElementById("view").getContext("2d").getImageData(60, 40, 1, 1).data.join() !== %q`, join(heat)))
	page.set("opacity", "value", "0")
	page.await(`document.getElementById("opacity-value").textContent === "0 %"`)
	page.await(near(60, 40, 80, 240, 200)) // the picture alone: seq × 40, 4x, 5y
	page.set("opacity", "value", "100")
	page.await(near(2, 2, 253, 231, 37)) // viridis at its near end: the map falls away to the right
	page.set("colormap", "value", "turbo")
	page.await(near(2, 2, 122, 4, 3))
	page.set("colormap", "value", "spectral")
	page.await(near(2, 2, 158, 1, 66))
	page.set("heat", "checked", false)
	page.await(near(60, 40, 80, 240, 200))
	page.set("heat", "checked", true)
	page.set("opacity", "value", "55")
	page.set("colormap", "value", "inferno")
	page.await(fmt.Sprintf(`document.getElementById("view").getContext("2d").getImageData(60, 40, 1, 1).data.join() === %q`, join(heat)))
}

// near is true when a pixel has a colour, give or take what JPEG does to it.
func near(x, y, red, green, blue int) string {
	return fmt.Sprintf(`[...document.getElementById("view").getContext("2d").getImageData(%d, %d, 1, 1).data].every((v, i) => i === 3 || Math.abs(v - [%d, %d, %d][i]) < 16)`, x, y, red, green, blue)
}

func join(pixel []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(pixel), " ", ","), "[]")
}

func TestPageWaitsAndSaysWhy(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	page := newBrowser(t)
	page.open("http://" + r.address + "/#cam1")
	page.await(`document.getElementById("state").textContent === "Waiting for source cam1."`)
	alive := flow.Alive{Stage: "producer", Instance: "p", Sources: []flow.SourceStatus{{
		Source: "cam1", Session: "s", Mode: flow.ModeLossless, State: flow.StateFailed, Reason: "no such file",
	}}}
	if err := b.bus.PublishAlive(alive); err != nil {
		t.Fatal(err)
	}
	page.await(`document.getElementById("state").textContent === "failed — no such file" && document.body.dataset.state === "failed"`)
	// Hidden, it lets go of the connection.
	ask[bool](page, `Object.defineProperty(document, "hidden", {value: true, configurable: true}) && document.dispatchEvent(new Event("visibilitychange"))`)
	page.await(`document.body.dataset.connection === "paused"`)
	r.eventually("leaving", func() bool { return r.metric("spatialflow_viewers") == 0 })
	ask[bool](page, `delete document.hidden && document.dispatchEvent(new Event("visibilitychange"))`)
	page.await(`document.body.dataset.connection === "open"`)
}

// The status page follows the numbers, and what a person holds stays: the focus, and the element that has it.
func TestStatusPageInBrowser(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/status")
	const held = `#streams [data-stream="SCENES_LOSSLESS"]`
	page.await(`document.querySelector("#sources [data-source=cam1] a") && document.querySelector('` + held + `')`)
	ask[bool](page, `(window.link = document.querySelector("#sources [data-source=cam1] a"), link.focus(), true)`)
	for seq := range uint64(20) {
		b.publish(t, "cam1", "s", seq+2)
	}
	page.await(`document.querySelector('` + held + `').cells[1].textContent === "21"`)
	page.await(`document.querySelector("[data-stage='end to end'] small")?.textContent.match(/^2\.[01] scenes\/s$/)`) // 20, or 21, in 10 s
	if !ask[bool](page, `document.activeElement === link && link.isConnected`) {
		t.Error("the link lost the focus, or its place")
	}
	r.stop()
	page.await(`document.body.dataset.connection === "reconnecting"`)
	b.startReady(t, func(c *gateway.Config) { c.HTTP = r.address })
	page.await(`document.body.dataset.connection === "open"`)
	ask[bool](page, `(link.click(), true)`)
	b.publish(t, "cam1", "s", 22)
	page.await(`location.hash === "#cam1" && document.body?.dataset.source === "cam1"`)
}

// Back to an address without a source is no refused name: the page chooses again.
func TestPageGoesBack(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam2", "s", 1) // before the other, which is not gone sooner
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/")
	page.await(`document.body.dataset.source === "cam1"`)
	ask[bool](page, `(location.hash = "#cam2", true)`)
	page.await(`document.body.dataset.source === "cam2"`)
	ask[bool](page, `(history.back(), true)`)
	page.await(`document.body.dataset.source === "cam1" && document.body.dataset.connection === "open"`)
}

// No label covers another: it goes over its box, under it, inside it, or nowhere.
func TestPagePlacesLabels(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	page := newBrowser(t)
	page.open("http://" + r.address + "/")
	ask[bool](page, `(import("./draw.js").then(m => window.drawing = m), true)`)
	page.await(`window.drawing`)
	for _, test := range []struct{ name, box, taken, want string }{
		{"over", "[100,50,140,90]", "[]", "[100,40,140,50]"},
		{"at the right edge", "[300,50,320,90]", "[]", "[280,40,320,50]"},
		{"at the top", "[100,5,140,90]", "[]", "[100,90,140,100]"},
		{"beside another", "[100,50,140,90]", "[[60,40,100,50]]", "[100,40,140,50]"},
		{"over is taken", "[100,50,140,90]", "[[139,49,170,60]]", "[100,90,140,100]"},
		{"as high as the picture", "[100,0,140,180]", "[]", "[100,0,140,10]"},
		{"no room", "[100,0,140,180]", "[[0,0,320,5]]", "null"},
	} {
		if got := ask[string](page, `JSON.stringify(drawing.placeLabel(`+test.box+`, [40, 10], [320, 180], `+test.taken+`))`); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
