package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// guard stands before a gateway and lets in who has a token.
type guard struct {
	mu      sync.Mutex
	callers map[string]api.Caller // by token
	open    map[*websocket.Conn]string
	urls    []string // that were asked for
	sockets int      // that were opened
	busy    bool     // it is asked too often
	gateway string
}

func newGuard(t *testing.T, gateway string, callers map[string]api.Caller) (g *guard, address string) {
	t.Helper()
	g = &guard{callers: callers, open: map[*websocket.Conn]string{}, gateway: gateway}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return g, server.URL
}

// set changes who may do what, and ends the websockets of those that may not any more.
func (g *guard) set(callers map[string]api.Caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.callers = callers
	for conn, token := range g.open {
		if _, known := callers[token]; !known {
			go func() { _ = conn.Close(3000, "token_wrong: the token is not known") }()
			delete(g.open, conn)
		}
	}
}

func (g *guard) opened() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sockets
}

// refusal is why a token is not enough; empty: it is.
func (g *guard) refusal(token, may string) (caller api.Caller, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	caller, known := g.callers[token]
	switch {
	case !known && token == "":
		return caller, "token_missing"
	case !known && strings.HasSuffix(token, "old"):
		return caller, "token_expired"
	case !known:
		return caller, "token_wrong"
	case may != "" && !slices.Contains(caller.May, may):
		return caller, "not_allowed"
	}
	return caller, ""
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.urls = append(g.urls, r.URL.String()+" "+r.Referer())
	busy := g.busy
	g.mu.Unlock()
	if busy {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	may := ""
	switch path := r.URL.Path; {
	case path == "/ws":
		g.serveSocket(w, r)
		return
	case path == "/api/v1/caller":
	case path == "/api/v1/status":
		may = api.MayStatus
	case strings.HasPrefix(path, "/api/v1/sources") && r.Method == http.MethodGet:
		may = api.MayView
	case strings.HasPrefix(path, "/api/v1/sources"):
		may = api.MayManage
	default:
		may = "-"
	}
	if may != "-" {
		caller, reason := g.refusal(token, may)
		if reason != "" {
			code := http.StatusUnauthorized
			if reason == "not_allowed" {
				code = http.StatusForbidden
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(api.Problem{Status: code, Reason: reason, Detail: reason, Message: reason})
			return
		}
		if r.URL.Path == "/api/v1/caller" {
			_ = json.NewEncoder(w).Encode(caller)
			return
		}
	}
	(&httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		request.SetURL(&url.URL{Scheme: "http", Host: g.gateway})
		request.Out.Host = request.In.Host
	}}).ServeHTTP(w, r)
}

func (g *guard) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := r.Context()
	_, first, err := conn.Read(ctx)
	if err != nil {
		return
	}
	said := map[string]any{}
	_ = json.Unmarshal(first, &said)
	token, _ := said["token"].(string)
	delete(said, "token")
	first, _ = json.Marshal(said)
	_, reason := g.refusal(token, api.MayView)
	g.mu.Lock()
	g.sockets++
	g.open[conn] = token
	g.mu.Unlock()
	switch reason {
	case "":
	case "not_allowed":
		_ = conn.Close(3003, reason+": it may not view")
		return
	default:
		_ = conn.Close(3000, reason+": give another")
		return
	}
	far, _, err := websocket.Dial(ctx, "http://"+g.gateway+"/ws", nil)
	if err != nil {
		return
	}
	defer far.CloseNow()
	far.SetReadLimit(-1)
	go pump(ctx, far, conn)
	if far.Write(ctx, websocket.MessageText, first) == nil {
		pump(ctx, conn, far)
	}
}

func pump(ctx context.Context, from, to *websocket.Conn) {
	for {
		kind, data, err := from.Read(ctx)
		if err != nil || to.Write(ctx, kind, data) != nil {
			_ = to.CloseNow()
			return
		}
	}
}

// answered drops what the browser itself says of refusals.
func (c *console) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = slices.DeleteFunc(c.wrong, func(text string) bool {
		return strings.Contains(text, "the server responded with a status of 401") || strings.Contains(text, "the server responded with a status of 403") ||
			strings.Contains(text, "the server responded with a status of 429")
	})
}

const asks = `document.getElementById("access").open && document.getElementById("access-says").textContent === %q`

func callers(tokens ...string) map[string]api.Caller {
	known := map[string]api.Caller{}
	for _, token := range tokens {
		name := strings.TrimPrefix(token, "sf_")
		known[token] = api.Caller{Name: name, May: strings.Split(name, "-"), Sources: []string{"*"}}
	}
	return known
}

// The page asks for a token, says what is wrong with one, and keeps it for its tab alone; all of it by keyboard.
func TestPageAsksForAToken(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	g, address := newGuard(t, r.address, callers("sf_view", "sf_predict", "sf_view-status"))
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	defer page.console.answered()
	page.open(address + "/#cam1")
	page.await(fmt.Sprintf(asks, "This gateway asks for a token."))
	page.await(`document.activeElement.id === "token" && document.activeElement.type === "password" && document.body.dataset.connection === "denied"`)
	for _, try := range []struct{ token, want string }{
		{"sf_nobody", "The gateway does not know this token, or not any more."},
		{"sf_old", "This token has expired."},
		{"not a token", "The gateway does not know this token, or not any more."},
		{"sf_predict", "This token may not see sources."},
	} {
		ask[bool](page, `(document.getElementById("token").select(), true)`)
		page.press(try.token + kb.Enter)
		page.await(fmt.Sprintf(asks, try.want))
	}
	if shown := ask[string](page, `document.body.dataset.source ?? ""`); shown != "" {
		t.Errorf("without a token the page shows %s", shown)
	}
	page.press(kb.Escape)
	page.await(`!document.getElementById("access").open && document.getElementById("connection").textContent === "no token" && document.getElementById("sign").textContent === "Sign out (predict)"`)
	ask[bool](page, `(document.getElementById("sign").click(), true)`)
	page.await(fmt.Sprintf(asks, "This gateway asks for a token."))
	page.press("sf_view" + kb.Enter)
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& !document.getElementById("access").open && document.querySelector('[data-may="status"]').hidden`)
	const kept = `JSON.stringify(sessionStorage) + JSON.stringify(localStorage) + document.cookie`
	if got := ask[string](page, kept); got != `{"spatial-flow-token":"sf_view"}{}` {
		t.Errorf("the browser keeps %s", got)
	}
	page.await(`document.getElementById("token").value === ""`)
	if html := ask[string](page, `location.href + document.documentElement.outerHTML`); strings.Contains(html, "sf_") {
		t.Error("the token is in the page")
	}
	ask[bool](page, `(window.before = true, location.reload(), true)`) // the tab keeps it
	page.await(`!window.before && document.readyState === "complete"`)
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& document.getElementById("sign").textContent === "Sign out (view)"`)

	// Withdrawn, it is asked for again, and no connection is tried meanwhile.
	before := g.opened()
	g.set(callers("sf_view-status"))
	page.await(fmt.Sprintf(asks, "The gateway does not know this token, or not any more."))
	page.await(`document.body.dataset.source === undefined && document.getElementById("source").options.length === 1 && document.getElementById("sign").textContent === "Sign in"`)
	ask[bool](page, `Object.defineProperty(document, "hidden", {value: true, configurable: true}) && document.dispatchEvent(new Event("visibilitychange"))`)
	ask[bool](page, `delete document.hidden && document.dispatchEvent(new Event("visibilitychange"))`)
	if got := ask[string](page, kept); got != `{}{}` {
		t.Errorf("the browser keeps %s", got)
	}
	page.press("sf_view-status" + kb.Enter)
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& !document.querySelector('[data-may="status"]').hidden`)
	if opened := g.opened(); opened != before+1 {
		t.Errorf("%d websockets since the token was withdrawn, want the new one's", opened-before)
	}
	ask[bool](page, `(document.getElementById("sign").click(), true)`)
	page.await(fmt.Sprintf(asks, "This gateway asks for a token."))
	page.await(`document.body.dataset.source === undefined`)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, asked := range g.urls {
		if strings.Contains(asked, "sf_") {
			t.Errorf("asked for %s", asked)
		}
	}
}

// The status page asks for a token too, and offers what it may.
func TestStatusPageAsksForAToken(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	g, address := newGuard(t, r.address, callers("sf_view", "sf_status", "sf_view-status"))
	b.publish(t, "cam1", "s", 1)
	page := newBrowser(t)
	defer page.console.answered()
	page.open(address + "/status")
	page.await(fmt.Sprintf(asks, "This gateway asks for a token."))
	page.press("sf_view" + kb.Enter)
	page.await(fmt.Sprintf(asks, "This token may not see the status."))
	page.await(`!document.querySelector('[data-may="view"]').hidden`)
	ask[bool](page, `(document.getElementById("token").select(), true)`)
	page.press("sf_status" + kb.Enter)
	page.await(`document.body.dataset.connection === "open" && document.querySelector("#streams [data-stream]") && document.querySelector('[data-may="view"]').hidden`)
	for _, busy := range []bool{true, false} {
		g.mu.Lock()
		g.busy = busy
		g.mu.Unlock()
		page.await(map[bool]string{true: `document.getElementById("connection").textContent === "asked too often: waiting"`, false: `document.body.dataset.connection === "open"`}[busy])
	}
	g.set(callers("sf_view-status"))
	page.await(fmt.Sprintf(asks, "The gateway does not know this token, or not any more."))
	page.await(`document.body.dataset.connection === "denied" && !document.querySelector("#streams [data-stream]") && document.getElementById("groups").childElementCount === 0`)
	page.press("sf_view-status" + kb.Enter)
	page.await(`document.body.dataset.connection === "open" && document.querySelector("#streams [data-stream]")`)
	ask[bool](page, `(document.querySelector('[data-may="view"]').click(), true)`) // the tab goes on with it
	page.await(`location.pathname === "/" && document.body?.dataset.source === "cam1"`)
}

// Where nobody needs a token, nobody is asked for one; where a token may let somebody do more, it may be given.
func TestPageWithoutTokens(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s", 1)
	known := callers("sf_view-status")
	known[""] = api.Caller{Name: "anonymous", May: []string{api.MayView}, Sources: []string{"*"}}
	_, address := newGuard(t, r.address, known)
	page := newBrowser(t)
	page.open(address + "/")
	page.await(fmt.Sprintf(drawn, 1, "shown") + `&& document.getElementById("sign").textContent === "Sign in" && document.querySelector('[data-may="status"]').hidden`)
	ask[bool](page, `(document.getElementById("sign").click(), true)`)
	page.press("sf_view-status" + kb.Enter)
	page.await(`document.getElementById("sign").textContent === "Sign out (view-status)" && document.body.dataset.connection === "open" && !document.querySelector('[data-may="status"]').hidden`)
	ask[bool](page, `(document.getElementById("sign").click(), true)`)
	page.await(`document.getElementById("sign").textContent === "Sign in" && !document.getElementById("access").open && document.body.dataset.source === "cam1"`)
	page.quiet()
}
