package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The pages as people see them: drawn, complete, without a serious barrier (axe-core), wide and on a telephone, dark and
// light. SPATIALFLOW_PICTURES=../docs/pictures makes those of the docs again, with the demo models (viewer.png is docs/demo.png).
func TestPages(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("SPATIALFLOW_PICTURES")
	keep := folder != ""
	if !keep {
		folder = t.TempDir()
	}
	settings, wide := "&fps=2&size=320x180", 640 // what a machine shows that has much else to do
	if keep {
		settings, wide = "&fps=8", 1280
	}
	base := running(t, func(u *Up) {
		u.Mode = ""
		for name, seed := range map[string]int{"market": 8, "corner": 12, "square": 11} {
			u.Sources = append(u.Sources, fmt.Sprintf("%s=street:?seed=%d%s#mode=live", name, seed, settings))
		}
		u.Manage.ManageSources, u.AllowSource = !keep, []string{"street:*"}
		if keep {
			u.DetectModel, u.DepthModel, u.DepthSize = "", "", 518
		}
	})
	page := tab(t, base+"/#market")
	look := func(light bool, width, height int64) {
		t.Helper()
		scheme := map[bool]string{true: "light", false: "dark"}[light]
		media := chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return err
		})
		if err := chromedp.Do(page, chromedp.EmulateViewport(width, height), media); err != nil {
			t.Fatal(err)
		}
	}
	take := func(name string) {
		t.Helper()
		barriers(t, page, name)
		if wide := ask[bool](t, page, `document.documentElement.scrollWidth > innerWidth`); wide {
			t.Errorf("%s: the page is wider than the window", name)
		}
		picture, err := chromedp.Run(page, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	await := func(expression string) {
		t.Helper()
		eventually(t, expression, func() bool { return ask[bool](t, page, "Boolean("+expression+")") })
	}
	look(false, 1280, 900)
	await(`Number(document.body.dataset.seq) > 10 && document.body.dataset.depth && document.getElementById("rate").textContent !== "–"`)
	take("viewer")
	press := func(keys string) {
		t.Helper()
		if err := chromedp.Do(page, chromedp.KeyEvent(keys)); err != nil {
			t.Fatal(err)
		}
	}
	press("2")
	await(fmt.Sprintf(`document.body.dataset.layout === "side" && view.width === %d`, wide))
	take("side-by-side")
	press("g")
	await(`document.querySelectorAll("#grid li[data-seq]").length === 3`)
	await(`[...document.querySelectorAll("#grid small")].every(s => !s.textContent.includes(" 0.0 "))`)
	take("grid")
	press("1")
	await(`document.body.dataset.layout === "blend" && document.body.dataset.seq && document.body.dataset.depth`)
	look(true, 390, 844)
	await(`innerWidth === 390`) // the layout follows
	take("phone")
	token := func(name string) {
		t.Helper()
		ask[bool](t, page, `(document.getElementById("sign").click(), document.getElementById("access-says").textContent = "This gateway asks for a token.", true)`)
		await(`document.getElementById("access").open`)
		take(name)
		press(kb.Escape)
		await(`!document.getElementById("access").open`)
	}
	token("token-phone")
	look(true, 1280, 900)
	take("light")
	if err := chromedp.Do(page, chromedp.Navigate(base+"/status")); err != nil {
		t.Fatal(err)
	}
	ready := `document.body.dataset.connection === "open" && document.querySelectorAll("#groups [data-workers='1']").length === 2 && document.querySelector("[data-stage='end to end'] path[d^=M]") && document.querySelectorAll("#streams [data-stream]").length > 3`
	look(false, 1280, 1500)
	await(ready)
	if !keep {
		ask[bool](t, page, `(Object.assign(document.querySelector("#configure [name=name]"), {value: "more"}), Object.assign(document.querySelector("#configure [name=uri]"), {value: "street:?seed=13&fps=2&size=320x180"}), document.querySelector("#configure button").click(), true)`)
		await(`document.querySelector("#configured [data-source=more] .state.running")`)
	}
	take("status")
	token("token")
	look(true, 390, 844)
	take("status-phone")
}

// barriers fails for what axe-core calls serious or critical.
func barriers(t *testing.T, page context.Context, name string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(cache, "spatial-flow", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("axe-core (make install-test): %v", err)
	}
	ctx, cancel := context.WithTimeout(page, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](string(script)+"; window.axeResult = null; axe.run().then(r => { window.axeResult = JSON.stringify(r.violations) }, e => { window.axeResult = String(e) }); true")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "axe ends", func() bool { return ask[bool](t, page, "window.axeResult !== null") })
	var violations []struct {
		ID, Impact, Help string
		Nodes            []struct {
			HTML           string
			FailureSummary string
		}
	}
	if text := ask[string](t, page, "window.axeResult"); json.Unmarshal([]byte(text), &violations) != nil {
		t.Fatalf("axe: %s", text)
	}
	for _, v := range violations {
		var where strings.Builder
		for _, node := range v.Nodes[:min(len(v.Nodes), 3)] {
			fmt.Fprintf(&where, "\n  %.200s: %s", node.HTML, node.FailureSummary)
		}
		if v.Impact == "serious" || v.Impact == "critical" {
			t.Errorf("%s: %s (%s): %s%s", name, v.ID, v.Impact, v.Help, where.String())
		} else {
			t.Logf("%s: %s (%s): %s%s", name, v.ID, v.Impact, v.Help, where.String())
		}
	}
}
