package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// press types keys, as a person does who has no mouse.
func (b browser) press(keys string, modifiers ...chromedp.KeyOption) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.KeyEvent(keys, modifiers...)); err != nil {
		b.t.Fatal(err)
	}
}

// focus goes on with Tab until the element has the focus.
func (b browser) focus(selector string) {
	b.t.Helper()
	for range 40 {
		if ask[bool](b, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
			return
		}
		b.press(kb.Tab)
	}
	b.t.Fatalf("Tab never comes to %s", selector)
}

// Every control of the viewer works by keyboard alone.
func TestViewerByKeyboard(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/#cam1")
	page.await(fmt.Sprintf(drawn, 1, "shown"))
	b.publish(t, "cam2", "s", 1)
	page.await(`document.getElementById("source").options.length === 2`)
	b.publish(t, "cam1", "s", 2)
	page.await(fmt.Sprintf(drawn, 2, "shown"))

	t.Run("single keys", func(t *testing.T) {
		page := browser{t, page.ctx, page.console}
		for _, test := range []struct{ keys, becomes string }{
			{"2", `document.body.dataset.layout === "side" && view.width === 128 && view.height === 48`},
			{"1", `document.body.dataset.layout === "blend" && view.width === 64`},
			{"h", `!document.getElementById("heat").checked`},
			{"h", `document.getElementById("heat").checked`},
			{"b", `!document.getElementById("boxes").checked`},
			{"b", `document.getElementById("boxes").checked`},
			{"+", `document.getElementById("opacity-value").textContent === "60 %"`},
			{"-", `document.getElementById("opacity-value").textContent === "55 %"`},
			{"c", `document.getElementById("colormap").value === "viridis"`},
			{"ccc", `document.getElementById("colormap").value === "inferno"`},
			{"n", `document.body.dataset.source === "cam2" && location.hash === "#cam2"`},
			{"p", `document.body.dataset.source === "cam1" && location.hash === "#cam1"`},
			{"g", `document.querySelectorAll("#grid li[data-seq]").length === 2 && document.getElementById("single").hidden`},
			{"g", `document.body.dataset.source === "cam1" && document.getElementById("grid").hidden`},
			{"?", `document.getElementById("help").open`},
			{kb.Escape, `!document.getElementById("help").open`},
		} {
			page.press(test.keys)
			page.await(test.becomes)
		}
	})
	t.Run("tab and arrows", func(t *testing.T) {
		page := browser{t, page.ctx, page.console}
		page.focus(`[name="layout"]`)
		page.press(kb.ArrowRight)
		page.await(`document.body.dataset.layout === "side"`)
		page.press(kb.ArrowRight)
		page.await(`document.body.dataset.layout === "grid" && document.querySelectorAll("#grid li[data-seq]").length === 2`)
		page.focus(`#grid [data-source="cam2"] button`)
		page.press(kb.Enter)
		page.await(`document.body.dataset.layout === "blend" && document.body.dataset.source === "cam2" && document.activeElement.id === "view"`)
		page.await(`document.body.dataset.depth === "1"`)
		page.press(kb.ArrowRight) // from the middle, where the map is at a half
		page.await(`/near \d+ % here/.test(document.getElementById("probe").textContent) && !document.getElementById("cross").hidden`)
		middle := ask[int](page, `parseInt(document.getElementById("probe").textContent.slice(5))`)
		page.press(strings.Repeat(kb.ArrowLeft, 20))
		page.await(fmt.Sprintf(`parseInt(document.getElementById("probe").textContent.slice(5)) > %d + 10`, middle)) // the map falls to the right
		page.focus("#heat")
		page.press(" ")
		page.await(`!document.getElementById("heat").checked`)
		page.press(" ")
		page.focus("#opacity")
		page.press(kb.ArrowRight)
		page.await(`document.getElementById("opacity-value").textContent === "56 %"`)
		page.focus("#colormap")
		page.press("v")
		page.await(`document.getElementById("colormap").value === "viridis"`)
	})
	t.Run("saving", func(t *testing.T) {
		page := browser{t, page.ctx, page.console}
		page.focus("#boxes") // in a list, letters choose
		ask[bool](page, `(() => { // what a download would get
			window.saved = [];
			URL.createObjectURL = (blob) => {
				const entry = { type: blob.type, size: blob.size };
				window.saved.push(entry);
				blob.text().then((text) => { entry.text = text; });
				return "about:blank";
			};
			HTMLAnchorElement.prototype.click = function () { window.saved.at(-1).name = this.download; };
			return true; })()`)
		page.press("j")
		page.await(`window.saved[0]?.text`)
		if name, text := ask[string](page, "saved[0].name"), ask[string](page, "saved[0].text"); name != "cam2-1.json" || !strings.Contains(text, `"label": "person"`) || strings.Contains(text, "picture_bytes") {
			t.Errorf("saved %s: %s", name, text)
		}
		page.press("s")
		page.await(`window.saved[1]?.size > 0 && saved[1].type === "image/png" && saved[1].name === "cam2-1.png"`)
	})
	t.Run("single keys off", func(t *testing.T) { // for those who speak to their computer: WCAG 2.1.4
		page := browser{t, page.ctx, page.console}
		page.press("?")
		page.await(`document.getElementById("help").open`)
		page.focus("#shortcuts")
		page.press(" ")
		page.press(kb.Escape)
		page.await(`!document.getElementById("help").open`)
		page.press("b")
		if !ask[bool](page, `document.getElementById("boxes").checked`) {
			t.Error("a key acts though single keys are off")
		}
	})
	want := "Frame 1 of cam2: 1 × person (near 73 %). pose: people [1,null]."
	if text := ask[string](page, `document.getElementById("words").textContent`); text != want {
		t.Errorf("the scene in words is %q, want %q", text, want)
	}
	if text := ask[string](page, `document.getElementById("ledger").innerText`); !strings.Contains(text, "fuser") {
		t.Errorf("the frame's way is %q", text)
	}
}
