package gateway_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/spatial-flow/spatial-flow/gateway"
)

// secret is the token of a name.
func secret(name string) string { return "sf_" + (name + strings.Repeat("-", 43))[:43] }

// tokenFile is one whose tokens have the names of what they may.
type tokenFile struct {
	t    testing.TB
	path string
}

func newTokenFile(t testing.TB, entries ...string) tokenFile {
	t.Helper()
	f := tokenFile{t, filepath.Join(t.TempDir(), "tokens.yaml")}
	f.set(entries...)
	return f
}

// set changes who may do what: an entry is a name and, after a comma, what else the file says of it. A name is what its token may, with
// hyphens between, and "old" one that has expired.
func (f tokenFile) set(entries ...string) {
	f.t.Helper()
	text := "tokens:\n"
	for _, entry := range entries {
		name, more, _ := strings.Cut(entry, ",")
		may := strings.ReplaceAll(strings.TrimPrefix(name, "old-"), "-", ", ")
		if name != strings.TrimPrefix(name, "old-") {
			more = "expires: 2020-01-31"
		}
		text += fmt.Sprintf("- {name: %s, sha256: %x, sources: ['*'], may: [%s], %s}\n", name, sha256.Sum256([]byte(secret(name))), may, more)
	}
	next := f.path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.path); err != nil {
		f.t.Fatal(err)
	}
}

// startWith runs a gateway with a file of tokens.
func (b bench) startWith(t testing.TB, f tokenFile, anonymous ...string) *runner {
	t.Helper()
	return b.startReady(t, func(c *gateway.Config) { c.Access.Tokens, c.Access.Anonymous = f.path, anonymous })
}

// give types a token into the page's form.
func (b browser) give(name string) {
	b.t.Helper()
	ask[bool](b, `(document.getElementById("token").select(), true)`)
	b.press(secret(name) + kb.Enter)
}

// refused drops what the browser itself says of refusals.
func (c *console) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = slices.DeleteFunc(c.wrong, func(text string) bool {
		return strings.Contains(text, "status of 401") || strings.Contains(text, "status of 403") || strings.Contains(text, "status of 429")
	})
}

// asks is true when the page asks for a token, and says this.
const asks = `document.getElementById("access").open && document.getElementById("access-says").textContent === %q`

const (
	saysMissing = "This gateway asks for a token."
	saysWrong   = "The gateway does not know this token, or not any more."
	saysExpired = "This token has expired."
)

// The page asks for a token, says what is wrong with one, and keeps it for its tab alone; all of it by keyboard.
func TestPageAsksForAToken(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	f := newTokenFile(t, "view", "predict", "old-view")
	r := b.startWith(t, f)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	defer page.console.refused()
	page.open("http://" + r.address + "/#cam1")
	page.await(fmt.Sprintf(asks, saysMissing))
	page.await(`document.activeElement.id === "token" && document.activeElement.type === "password" && document.body.dataset.connection === "denied"`)
	for _, try := range []struct{ name, want string }{
		{"nobody", saysWrong}, {"old-view", saysExpired}, {"no token", saysWrong}, {"predict", "This token may not see sources."},
	} {
		page.give(try.name)
		page.await(fmt.Sprintf(asks, try.want))
	}
	if shown := ask[string](page, `document.body.dataset.source ?? ""`); shown != "" {
		t.Errorf("without a token the page shows %s", shown)
	}
	page.press(kb.Escape)
	page.await(`!document.getElementById("access").open && document.getElementById("connection").textContent === "no token" && document.getElementById("sign").textContent === "Sign out (predict)"`)
	page.focus("#sign")
	page.press(kb.Enter)
	page.await(fmt.Sprintf(asks, saysMissing))
	page.press(secret("view") + kb.Enter)
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& !document.getElementById("access").open && document.querySelector('[data-may="status"]').hidden`)
	const kept = `JSON.stringify(sessionStorage) + JSON.stringify(localStorage) + document.cookie`
	if got, want := ask[string](page, kept), fmt.Sprintf(`{"spatial-flow-token":%q}{}`, secret("view")); got != want {
		t.Errorf("the browser keeps %s, want %s", got, want)
	}
	page.await(`document.getElementById("token").value === ""`)
	if text := ask[string](page, `[location.href, document.documentElement.outerHTML, ...performance.getEntries().map(e => e.name)].join("\n")`); strings.Contains(text, "sf_") {
		t.Error("the token is in the page, or in an address")
	}
	ask[bool](page, `(window.before = true, location.reload(), true)`) // the tab keeps it
	page.await(`!window.before && document.readyState === "complete"`)
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& document.getElementById("sign").textContent === "Sign out (view)"`)

	// Withdrawn, it is asked for again, and no connection is tried meanwhile.
	sockets := func() float64 { return r.metric("spatialflow_http_requests_total", "route", "/ws") }
	f.set("view-status")
	page.await(fmt.Sprintf(asks, saysWrong))
	page.await(`document.body.dataset.source === undefined && document.getElementById("source").options.length === 1 && document.getElementById("sign").textContent === "Sign in"`)
	if got := ask[string](page, kept); got != `{}{}` {
		t.Errorf("the browser keeps %s", got)
	}
	r.eventually("end of the websocket", func() bool { return r.metric("spatialflow_viewers") == 0 })
	before := sockets()
	ask[bool](page, `Object.defineProperty(document, "hidden", {value: true, configurable: true}) && document.dispatchEvent(new Event("visibilitychange"))`)
	ask[bool](page, `delete document.hidden && document.dispatchEvent(new Event("visibilitychange"))`)
	page.give("view-status")
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& !document.querySelector('[data-may="status"]').hidden`)
	page.focus("#sign")
	page.press(kb.Enter)
	page.await(fmt.Sprintf(asks, saysMissing))
	page.await(`document.body.dataset.source === undefined`)
	r.eventually("end of the websocket", func() bool { return r.metric("spatialflow_viewers") == 0 })
	if opened := sockets() - before; opened != 1 {
		t.Errorf("%v websockets since the token was withdrawn, want the other one's", opened)
	}
}

// The status page asks for a token too, and offers what it may.
func TestStatusPageAsksForAToken(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	f := newTokenFile(t, "view", "status", "view-status")
	r := b.startWith(t, f)
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	defer page.console.refused()
	page.open("http://" + r.address + "/status")
	page.await(fmt.Sprintf(asks, saysMissing))
	page.give("view")
	page.await(fmt.Sprintf(asks, "This token may not see the status."))
	page.give("status")
	const shows = `document.body.dataset.connection === "open" && document.querySelector("#streams [data-stream]")`
	page.await(shows + `&& document.querySelector('[data-may="view"]').hidden`)
	f.set("view-status,rate: 0.5") // asked too often, it waits
	page.await(fmt.Sprintf(asks, saysWrong))
	page.await(`document.body.dataset.connection === "denied" && !document.querySelector("#streams [data-stream]") && document.getElementById("groups").childElementCount === 0`)
	page.give("view-status")
	page.await(`document.getElementById("connection").textContent === "asked too often: waiting"`)
	f.set("view-status")
	page.await(shows)
	ask[bool](page, `(document.querySelector('[data-may="view"]').click(), true)`) // the tab goes on with it
	page.await(`location.pathname === "/" && document.body?.dataset.source === "cam1"`)
}

// Where nobody needs a token, nobody is asked for one; where a token may let somebody do more, it may be given.
func TestPageWithoutATokenOffersToGiveOne(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startWith(t, newTokenFile(t, "view-status-predict"), "view")
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	page.open("http://" + r.address + "/")
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& document.getElementById("sign").textContent === "Sign in" && document.querySelector('[data-may="status"]').hidden`)
	ask[bool](page, `(document.getElementById("sign").click(), true)`)
	page.give("view-status-predict")
	page.await(`document.getElementById("sign").textContent === "Sign out (view-status-predict)" && document.body.dataset.connection === "open" && !document.querySelector('[data-may="status"]').hidden`)
	ask[bool](page, `(document.getElementById("sign").click(), true)`)
	page.await(`document.getElementById("sign").textContent === "Sign in" && !document.getElementById("access").open && document.body.dataset.source === "cam1"`)
	bare := b.startReady(t, func(c *gateway.Config) { c.Access.Anonymous = []string{"view"} }) // knows no token
	page.open("http://" + bare.address + "/")
	page.await(`document.body.dataset.connection === "open" && document.querySelector('[data-may="status"]').hidden && document.getElementById("sign").hidden`)
	page.quiet()
}

// All sources at once go when the token does, and come with the next one.
func TestGridAsksForAToken(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	f := newTokenFile(t, "view")
	r := b.startWith(t, f)
	b.publish(t, "cam1", "s", 1)
	b.publish(t, "cam2", "s", 1)
	page := newBrowser(t)
	defer page.console.refused()
	page.open("http://" + r.address + "/#cam1") // without a name it chooses what runs, and one may be gone by now
	page.await(fmt.Sprintf(asks, saysMissing))
	page.press("g") // is typed into the form
	page.give("view")
	const tiles = `document.querySelectorAll('#grid li[data-seq="1"]').length === 2`
	page.await(`document.body.dataset.source === "cam1" && document.body.dataset.layout === "blend"`)
	page.press("g")
	page.await(tiles)
	f.set("view-status")
	page.await(fmt.Sprintf(asks, saysWrong))
	page.await(`document.getElementById("grid").childElementCount === 0`)
	page.give("view-status")
	page.await(tiles)
}
