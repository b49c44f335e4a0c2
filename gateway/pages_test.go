package gateway_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway/overview"
)

// quiet fails when the pages that were opened, all of whose requests were answered, complained of anything.
func (b browser) quiet() {
	b.t.Helper()
	for _, complaint := range b.console.complaints(false) {
		b.t.Errorf("the page's console: %s", complaint)
	}
}

// What the status page draws is what the JSON says, again and again, and no page does what its content policy refuses.
func TestPagesDrawWhatIsSo(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/")
	page.await(fmt.Sprintf(drawn, 1, "shown"))
	for _, layout := range []string{"side", "grid", "blend"} {
		ask[bool](page, fmt.Sprintf(`(document.querySelector('[name="layout"][value="%s"]').click(), true)`, layout))
		page.await(fmt.Sprintf(`document.body.dataset.layout === "%s"`, layout))
	}
	ask[bool](page, `(document.getElementById("keys").click(), true)`)

	page.open("http://" + r.address + "/status")
	for _, busy := range []float64{.25, .75, .5} {
		alive := flow.Alive{Stage: "detect", Instance: "d", Parallel: 2, Rate: 40 * busy, WaitMS: 8, Busy: busy}
		r.eventually(fmt.Sprintf("bar of %v", busy), func() bool {
			if err := b.bus.PublishAlive(alive); err != nil {
				t.Fatal(err)
			}
			var said overview.Overview
			_, _, body := r.get("/api/v1/status")
			if err := json.Unmarshal([]byte(body), &said); err != nil {
				t.Fatal(err)
			}
			group := said.Groups[0]
			shown := ask[map[string]any](page, `(() => {
				const card = document.querySelector("[data-group=detect]"), bar = card?.querySelector(".bar");
				return bar ? {share: bar.firstChild.getBoundingClientRect().width / bar.getBoundingClientRect().width, said: Number(bar.getAttribute("aria-valuenow")),
					text: [...card.querySelectorAll("dd")].map(dd => dd.textContent).join("; ")} : {};
			})()`)
			share, _ := shown["share"].(float64)
			return group.Busy == busy && math.Abs(share-group.Busy) < .01 && shown["said"] == 100*group.Busy &&
				shown["text"] == fmt.Sprintf("%.1f; 8.0 ms; %.0f %% of 2 slots", group.Rate, 100*group.Busy)
		})
	}
	page.quiet()
}

// The number of the frame, the sentence and the list are of one frame at every moment.
func TestPageTellsOfOneFrame(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/#cam1")
	page.await(fmt.Sprintf(drawn, 1, "shown"))
	ask[bool](page, `(window.truths = new Set(), setInterval(() => {
		const frame = document.getElementById("frame").textContent, words = document.getElementById("words").textContent;
		const found = document.getElementById("count").textContent, rows = document.getElementById("detections").rows.length;
		const same = words.startsWith("Frame " + frame + " of") && words.includes(": " + found + " × person") && rows === Number(found);
		truths.add(same ? "frame " + frame : "frame " + frame + ", " + found + " of " + rows + " detections beside: " + words);
	}, 5), true)`)
	for seq := uint64(2); seq < 12; seq++ {
		scene := newScene(t, "cam1", "s", seq)
		for range seq % 4 {
			scene.Detections = append(scene.Detections, scene.Detections[0])
		}
		b.publishFrame(t, newFrame(t, "cam1", "s", seq))
		b.publishScene(t, scene)
		page.await(fmt.Sprintf(`truths.size > 0 && document.body.dataset.seq === "%d"`, seq))
	}
	page.await(`truths.has("frame 11")`)
	for _, truth := range strings.Split(ask[string](page, `[...truths].join("\n")`), "\n") {
		if strings.Contains(truth, ",") {
			t.Error(truth)
		}
	}
	page.quiet()
}

// The thread that draws decodes nothing: it works without what decodes.
func TestPageDecodesInAWorker(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	page := newBrowser(t)
	page.open("http://" + r.address + "/#cam1")
	page.await(`document.body.dataset.connection === "open"`)
	ask[bool](page, `(window.createImageBitmap = window.DecompressionStream = undefined, true)`)
	b.publish(t, "cam1", "s", 1)
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& document.body.dataset.depth === "1"`)
	page.quiet()
}

// A proxy may serve the gateway under a path of its own.
func TestPagesUnderAPath(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		path, inside := strings.CutPrefix(request.In.URL.Path, "/spatial-flow/")
		if !inside {
			path = "not-of-the-gateway"
		}
		request.Out.URL = &url.URL{Scheme: "http", Host: r.address, Path: "/" + path, RawQuery: request.In.URL.RawQuery}
		request.Out.Host = request.In.Host
	}})
	t.Cleanup(proxy.Close)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open(proxy.URL + "/spatial-flow/")
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& getComputedStyle(document.querySelector(".frame")).position === "relative"`)
	ask[bool](page, `(document.querySelector('nav a:not([aria-current])').click(), true)`)
	page.await(`location.pathname === "/spatial-flow/status" && document.querySelector("#sources [data-source=cam1] a")`)
	ask[bool](page, `(document.querySelector("#sources [data-source=cam1] a").click(), true)`)
	page.await(`location.pathname === "/spatial-flow/" && location.hash === "#cam1"`)
	page.await(fmt.Sprintf(drawn, 1, "shown"))
	page.quiet()
}

// In the grid, what is in sight is watched: of more sources than may be at once, each is shown when a person gets there.
func TestGridOfManySources(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	const sources = 25 // 20 may be watched at once
	name := func(i int) string { return fmt.Sprintf("cam%02d", i) }
	for i := range sources {
		b.publish(t, name(i), "s", 1)
	}
	page := newBrowser(t)
	page.open("http://" + r.address + "/#cam00")
	page.await(`document.body.dataset.seq === "1"`)
	ask[bool](page, `(document.querySelector('[name="layout"][value="grid"]').click(), true)`)
	page.await(fmt.Sprintf(`document.querySelectorAll("#grid li").length === %d`, sources))
	for i := range sources {
		tile := fmt.Sprintf(`document.querySelector('#grid [data-source="%s"]')`, name(i))
		ask[bool](page, `(`+tile+`.scrollIntoView(), true)`)
		page.await(tile + `.dataset.seq === "1"`)
	}
	last := name(sources - 1)
	b.publish(t, last, "s", 2)
	page.await(fmt.Sprintf(`document.querySelector('#grid [data-source="%s"]').dataset.seq === "2"`, last))
	page.quiet()
}
