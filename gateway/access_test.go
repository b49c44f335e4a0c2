package gateway_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/overview"
)

// tokens are those of a file that a gateway reads.
type tokens struct {
	t     testing.TB
	file  string
	order []string
	lines map[string]string // by name
	all   map[string]string // likewise; also those that are withdrawn
}

func newTokens(t testing.TB) *tokens {
	t.Helper()
	return &tokens{t: t, file: filepath.Join(t.TempDir(), "tokens.yaml"), lines: map[string]string{}, all: map[string]string{}}
}

// add has the file say that of a token, which is made when there is none of that name.
func (k *tokens) add(name, may, sources, more string) string {
	k.t.Helper()
	if k.all[name] == "" {
		k.all[name] = access.NewToken()
		k.order = append(k.order, name)
	}
	sum := access.Sum(k.all[name])
	k.lines[name] = fmt.Sprintf("- {name: %s, sha256: %s, may: [%s], sources: [%s]%s}\n", name, hex.EncodeToString(sum[:]), may, sources, more)
	k.write()
	return k.all[name]
}

func (k *tokens) withdraw(name string) {
	k.t.Helper()
	delete(k.lines, name)
	k.write()
}

func (k *tokens) write() {
	k.t.Helper()
	text := "tokens: []\n"
	if len(k.lines) > 0 {
		text = "tokens:\n"
	}
	for _, name := range k.order {
		text += k.lines[name]
	}
	if err := os.WriteFile(k.file, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// use has a gateway ask for them.
func (k *tokens) use(c *gateway.Config) { c.Access.Tokens = k.file }

const every = `"*"`

// as is the header that a token is sent in.
func as(token string) []string {
	if token == "" {
		return nil
	}
	return []string{"Authorization", "Bearer " + token}
}

// twoCameras has two of them there, with scenes that come and what is configured, of which cam2 is to stay unknown to some: its name is
// in what producers say, too.
func (b bench) twoCameras(t *testing.T, r *runner, token string) {
	t.Helper()
	for _, name := range []string{"cam1", "cam2"} {
		b.keepPublishing(t, name)
		if _, err := configured.Put(t.Context(), b.bus, name, configured.Source{URI: "rtsp://" + name + ".example/"}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	b.producing(t, "producer-of-cam2", []string{"rtsp://10.0.0.*"},
		flow.SourceStatus{Source: "cam1", Session: "s", Mode: flow.ModeLossless, State: flow.StateRunning}, flow.SourceStatus{Source: "cam2", Session: "s", Mode: flow.ModeLossless, State: flow.StateRunning})
	r.eventually("cam2", func() bool {
		_, _, status := r.get("/api/v1/status", as(token)...)
		code, _, _ := r.get("/api/v1/sources/cam2/scene", as(token)...)
		_, _, sources := r.get("/api/v1/sources", as(token)...)
		return code == 200 && strings.Contains(status, "producer-of-cam2") && strings.Contains(status, `"stage":"end to end"`) && strings.Contains(sources, "rtsp://cam2.example")
	})
}

// addresses are those of this machine that callers came from.
var addresses atomic.Uint32

// begin is the code and the reason of an answer that may go on, to a caller at an address of its own: wrong tokens of one are slow.
func (r *runner) begin(method, path string, body string, token string) (code int, reason string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.address+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "image/jpeg")
	}
	n := addresses.Add(1)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))}}
	response, err := (&http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}).RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	var problem api.Problem
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") {
		if err := json.NewDecoder(response.Body).Decode(&problem); err != nil {
			r.t.Error(err)
		}
	}
	if asked := response.Header.Get("WWW-Authenticate"); (response.StatusCode == 401) != strings.HasPrefix(asked, `Bearer realm="spatial-flow"`) && response.StatusCode != 403 {
		r.t.Errorf("%s %s: %d, WWW-Authenticate %q", method, path, response.StatusCode, asked)
	}
	return response.StatusCode, problem.Reason
}

// Every path that the gateway tells of, for those without a token and with tokens of each kind. What openapi.yaml has and is not in the
// table fails, so that nothing is open that nobody thought of.
func TestWhoMayWhat(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	k := newTokens(t)
	all := k.add("all", "view, predict, status, manage", every, "")
	cam1 := k.add("cam1", "view, predict, status, manage", "cam1", "")
	only := map[string]string{}
	for _, right := range access.Rights {
		only[string(right)] = k.add(string(right), string(right), every, "")
	}
	expired := k.add("expired", "view, predict, status, manage", every, ", expires: 2020-01-01")
	withdrawn := k.add("withdrawn", "view, predict, status, manage", every, "")
	r := b.startReady(t, func(c *gateway.Config) { k.use(c); c.Manage.ManageSources = true })
	b.twoCameras(t, r, all)
	k.withdraw("withdrawn")
	r.eventually("withdrawal", func() bool { code, _, _ := r.get("/api/v1/caller", as(withdrawn)...); return code == 401 })

	needs := map[string]string{ // by what openapi.yaml tells; without a right: any token will do
		"GET /api/v1/caller": "", "GET /api/v1/status": "status", "GET /api/v1/sources": "view", "GET /api/v1/sources/{source}": "view",
		"PUT /api/v1/sources/{source}": "manage", "DELETE /api/v1/sources/{source}": "manage", "GET /api/v1/sources/{source}/scene": "view",
		"GET /api/v1/sources/{source}/picture.jpg": "view", "GET /api/v1/sources/{source}/depth.png": "view", "GET /api/v1/sources/{source}/scenes": "view",
		"GET /api/v1/sources/{source}/mjpeg": "view", "POST /api/v1/predict": "predict", "POST /predict": "predict",
	}
	_, _, text := r.get("/openapi.yaml")
	document, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			if _, there := needs[method+" "+path]; !there {
				t.Errorf("%s %s: nobody has said who may", method, path)
			}
		}
	}
	for pattern, needs := range needs {
		method, path, _ := strings.Cut(pattern, " ")
		body := ""
		if method == http.MethodPut {
			body = `{"uri":"street:"}`
		}
		for name, test := range map[string]struct {
			token  string
			code   int
			reason string
		}{
			"none": {"", 401, "token_missing"}, "wrong": {access.NewToken(), 401, "token_wrong"}, "no token at all": {"x", 401, "token_wrong"},
			"expired": {expired, 401, "token_expired"}, "withdrawn": {withdrawn, 401, "token_wrong"},
		} {
			if code, reason := r.begin(method, strings.Replace(path, "{source}", "cam1", 1), body, test.token); code != test.code || reason != test.reason {
				t.Errorf("%s with a token that is %s: %d %s", pattern, name, code, reason)
			}
		}
		for right, token := range only {
			code, reason := r.begin(method, strings.Replace(path, "{source}", "cam1", 1), body, token)
			if denied := code == 403 && reason == "not_allowed"; code == 401 || right != needs && needs != "" && !denied {
				t.Errorf("%s by who may %s: %d %s", pattern, right, code, reason)
			} else if right == needs && denied && method != http.MethodPut { // that is a producer's answer
				t.Errorf("%s by who may: %d %s", pattern, code, reason)
			}
		}
		if !strings.Contains(path, "{source}") {
			continue
		}
		// What cam1's token does not see is as what there never was.
		for source, want := range map[string]int{"cam2": 404, "none": 404} {
			if method == http.MethodPut {
				want = 403
			}
			code, header, hidden := r.send(method, strings.Replace(path, "{source}", source, 1), body, as(cam1)...)
			if code != want || strings.Contains(strings.ReplaceAll(hidden, path, ""), "rtsp") {
				t.Errorf("%s of %s: %d %v %s", pattern, source, code, header, hidden)
			}
		}
		_, _, hidden := r.send(method, strings.Replace(path, "{source}", "cam2", 1), body, append(as(cam1), "X-Request-Id", "same")...)
		_, _, none := r.send(method, strings.Replace(path, "{source}", "cam7", 1), body, append(as(cam1), "X-Request-Id", "same")...)
		if strings.ReplaceAll(hidden, "cam2", "cam7") != none {
			t.Errorf("%s: a source that is hidden and one that is not there:\n%s\n%s", pattern, hidden, none)
		}
	}
	for _, path := range []string{"/", "/status", "/app.js", "/style.css", "/api/", "/openapi.yaml"} {
		if code, _ := r.begin(http.MethodGet, path, "", ""); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
	code, header, _ := r.do(http.MethodOptions, "/api/v1/sources", "Origin", "http://"+r.address, "Access-Control-Request-Method", "GET")
	if code != 204 || !strings.Contains(header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight: %d %v", code, header)
	}
	if all, err := configured.All(t.Context(), b.bus); err != nil || all["cam2"].URI != "rtsp://cam2.example/" {
		t.Errorf("cam2 is configured otherwise: %+v, %v", all, err)
	}
}

// A token for cam1 gets nothing of cam2, whatever is asked for; nor do numbers tell of it.
func TestATokenSeesItsSourcesAlone(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	k := newTokens(t)
	all := k.add("all", "view, predict, status, manage", every, "")
	cam1 := k.add("one", "view, predict, status, manage", "cam1", "")
	r := b.startReady(t, func(c *gateway.Config) { k.use(c); c.Manage.ManageSources = true })
	b.answerPredict(t, &models{})
	r.eventually("workers", func() bool {
		code, _, _ := r.deliver(http.MethodPost, "/api/v1/predict", "image/jpeg", picture(t, 1), as(all)...)
		return code == 200
	})
	b.twoCameras(t, r, all)
	for _, path := range []string{
		"/api/v1/caller", "/api/v1/status", "/api/v1/sources", "/api/v1/sources/cam1", "/api/v1/sources/cam1/scene", "/api/v1/sources/cam1/picture.jpg",
		"/api/v1/sources/cam1/depth.png", "/api/v1/sources/none", "/api/v1/sources/none/scene", "/api/v1/sources/none/picture.jpg", "/api/v1/sources/none/depth.png",
		"/api/v1/sources/none/scenes", "/api/v1/sources/none/mjpeg", "/api/v1/nothing",
	} {
		if code, header, body := r.get(path, as(cam1)...); code >= 500 || strings.Contains(body, "cam2") || strings.Contains(fmt.Sprint(header), "cam2") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for _, body := range []string{`{"uri":"street:"}`, `{"uri":"/etc/passwd"}`, "{"} {
		for _, source := range []string{"cam1", "none"} {
			if _, _, body := r.send(http.MethodPut, "/api/v1/sources/"+source, body, as(cam1)...); strings.Contains(body, "cam2") {
				t.Errorf("PUT %s: %s", source, body)
			}
		}
	}
	for _, query := range []string{"", "?groups=none", "?depth=perhaps"} {
		code, _, body := r.deliver(http.MethodPost, "/api/v1/predict"+query, "image/jpeg", picture(t, 1), as(cam1)...)
		if code >= 500 || strings.Contains(string(body), "cam2") {
			t.Errorf("predict%s: %d %s", query, code, body)
		}
	}
	var told overview.Overview
	_, _, body := r.get("/api/v1/status", as(cam1)...)
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatal(err)
	}
	zero := told.Gateway.Viewers == 0 && told.Gateway.Scenes == 0 && told.Gateway.SentBytes == 0 && len(told.Gateway.Drops)+len(told.Gateway.Refused) == 0
	if !told.Restricted || len(told.Sources) != 1 || len(told.Services)+len(told.Stages)+len(told.NATS.Streams) != 0 || !zero || len(told.Groups) != 2 || told.Groups[0].Rate != 0 {
		t.Errorf("%s", body)
	}
	if _, _, body := r.get("/api/v1/status", as(all)...); strings.Contains(body, "restricted") || !strings.Contains(body, "FRAMES_LIVE") {
		t.Errorf("who sees everything: %s", body)
	}
	for _, watched := range []string{"", `"cam1"`, `"cam1","cam2"`} {
		c := r.dial()
		c.write(fmt.Appendf(nil, `{"token":%q,"sources":[%s]}`, cam1, watched))
		statuses, scenes := 0, 0
		for statuses < 2 || scenes < 10 {
			kind, data, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), "cam2") || !strings.Contains(string(data), "cam1") {
				t.Fatalf("who watches [%s] gets %.300s", watched, data)
			}
			if kind == websocket.MessageText {
				statuses++
			} else {
				scenes++
			}
		}
	}
	c := r.dial() // to one that it does not see it may wait for ever
	c.write(fmt.Appendf(nil, `{"token":%q,"sources":["cam2"]}`, cam1))
	for range 2 {
		if kind, data, err := c.read(); err != nil || kind != websocket.MessageText || strings.Contains(string(data), "cam2") {
			t.Fatalf("who watches cam2 gets %.300s, %v", data, err)
		}
	}
	two := r.dial() // while who sees both gets both
	two.write(fmt.Appendf(nil, `{"token":%q,"sources":[]}`, all))
	for seen := map[string]bool{}; len(seen) < 2; {
		seen[two.scene().header.Frame.Source] = true
	}
}

// Nothing is sent on a websocket before its first message has a right token; why it ends is told by code and reason.
func TestTokenOnTheWebsocket(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	k := newTokens(t)
	right, predicts := k.add("wall", "view", every, ""), k.add("predicts", "predict", "", "")
	expired := k.add("expired", "view", every, ", expires: 2020-01-01")
	seldom := k.add("seldom", "view", every, ", rate: 0.001")
	r := b.startReady(t, func(c *gateway.Config) { k.use(c); c.Live.WatchWithin = 3 * time.Second })
	b.publish(t, "cam1", "s", 1)
	r.eventually("cam1", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene", as(right)...); return code == 200 })
	try := func(message string, code websocket.StatusCode, reason string) {
		t.Helper()
		c := r.dial()
		if message != "" {
			c.write([]byte(message))
		}
		for {
			_, data, err := c.read()
			if err == nil {
				t.Errorf("%s: gets %s", message, data)
				continue
			}
			if got := websocket.CloseStatus(err); got != code || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: %v", message, err)
			}
			return
		}
	}
	try("", websocket.StatusPolicyViolation, "no watch message") // in which time a status would have come
	try(`{"sources":[]}`, 3000, "token_missing: ")
	try(`{"token":"","sources":[]}`, 3000, "token_missing: ")
	try(fmt.Sprintf(`{"token":%q,"sources":[]}`, access.NewToken()), 3000, "token_wrong: ")
	try(fmt.Sprintf(`{"token":%q,"sources":[]}`, expired), 3000, "token_expired: ")
	try(fmt.Sprintf(`{"token":%q,"sources":[]}`, predicts), 3003, "not_allowed: ")
	try(fmt.Sprintf(`{"token":%q}`, right), websocket.StatusPolicyViolation, "")
	if code, _, _ := r.get("/api/v1/caller", as(seldom)...); code != 200 {
		t.Errorf("the first request of a slow one: %d", code)
	}
	if code, header, _ := r.get("/api/v1/caller", as(seldom)...); code != 429 || header.Get("Retry-After") == "" {
		t.Errorf("the second: %d %v", code, header)
	}
	try(fmt.Sprintf(`{"token":%q,"sources":[]}`, seldom), websocket.StatusTryAgainLater, "rate: ")

	c := r.dial()
	c.write(fmt.Appendf(nil, `{"token":%q,"sources":["none"]}`, right))
	c.status(func(api.Status) bool { return true })
	c.write([]byte(`{"sources":["cam1"]}`)) // without it, from now on
	if c.scene().header.Frame.Source != "cam1" {
		t.Error("another source")
	}
	header := http.Header{"Authorization": {"Bearer " + right}}
	conn, _, err := websocket.Dial(t.Context(), "ws://"+r.address+"/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	program := client{t, conn}
	program.watch("cam1")
	program.scene()
	for token, want := range map[string]int{access.NewToken(): 401, predicts: 403} {
		_, answer, err := websocket.Dial(t.Context(), "ws://"+r.address+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
		if err == nil || answer == nil || answer.StatusCode != want {
			t.Errorf("%v, %v, want %d", err, answer, want)
		}
	}
}

// What is open ends when its token is withdrawn or expires, and goes on with what the file says else; the tokens beside it are as they were.
func TestTokensChangeWhileTheyAreUsed(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	k := newTokens(t)
	goes, stays := k.add("goes", "view", every, ""), k.add("stays", "view", `"cam*"`, "")
	changes, loses := k.add("changes", "view", "cam1", ""), k.add("loses", "view", every, "")
	r := b.startReady(t, k.use)
	b.keepPublishing(t, "cam1")
	b.keepPublishing(t, "cam2")
	r.eventually("cam2", func() bool { code, _, _ := r.get("/api/v1/sources/cam2/scene", as(stays)...); return code == 200 })
	view := func(token string) client {
		c := r.dial()
		c.write(fmt.Appendf(nil, `{"token":%q,"sources":[]}`, token))
		c.scene()
		return c
	}
	gone, there, changed, lost := view(goes), view(stays), view(changes), view(loses)
	streams := []*http.Response{r.open("/api/v1/sources/cam1/scenes", as(goes)...), r.open("/api/v1/sources/cam1/mjpeg", as(goes)...), r.open("/api/v1/sources/cam1/scenes", as(changes)...)}
	goesOn := r.open("/api/v1/sources/cam1/scenes", as(stays)...)

	if err := os.WriteFile(k.file, []byte("tokens: ["), 0o600); err != nil { // changes nothing
		t.Fatal(err)
	}
	r.eventually("word of it", func() bool {
		return r.metric("spatialflow_refused_total", "door", "tokens", "reason", "malformed") == 1
	})
	if !r.health.Ready() {
		t.Error("not ready because of a wrong file")
	}
	gone.scene()
	k.add("changes", "view", "cam2", "")
	k.add("loses", "predict", "", "")
	k.withdraw("goes")
	began := time.Now()
	var ends sync.WaitGroup
	for i, stream := range streams {
		ends.Go(func() {
			buffer := make([]byte, 1<<20)
			for {
				if _, err := stream.Body.Read(buffer); err != nil {
					return
				}
				if time.Since(began) > patience {
					t.Errorf("stream %d does not end", i)
					return
				}
			}
		})
	}
	if code, reason := gone.closed(); code != 3000 || !strings.HasPrefix(reason, "token_wrong: ") {
		t.Errorf("withdrawn: %d %s", code, reason)
	}
	if code, reason := lost.closed(); code != 3003 || !strings.HasPrefix(reason, "not_allowed: ") {
		t.Errorf("without the right: %d %s", code, reason)
	}
	ends.Wait()
	t.Logf("ended %v after the file was written", time.Since(began)) // at most 2 s; no test judges time
	for changed.scene().header.Frame.Source != "cam2" {
	}
	for range 40 {
		if _, data, err := changed.read(); err != nil || strings.Contains(string(data), "cam1") {
			t.Fatalf("sees %.300s still, %v", data, err)
		}
	}
	for seen := map[string]bool{}; len(seen) < 2; {
		seen[there.scene().header.Frame.Source] = true
	}
	if _, err := goesOn.Body.Read(make([]byte, 1)); err != nil {
		t.Errorf("the stream of a token that stays: %v", err)
	}
	k.add("stays", "view", `"cam*"`, ", expires: "+time.Now().Add(time.Second).UTC().Format(time.RFC3339))
	if code, reason := there.closed(); code != 3000 || !strings.HasPrefix(reason, "token_") {
		t.Errorf("expired: %d %s", code, reason)
	}
}

// Who has no token may what --anonymous says; a wrong token is refused all the same.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Access.Anonymous = []string{"view"} })
	b.publish(t, "cam1", "s", 1)
	r.watch("cam1")
	for path, want := range map[string]int{"/api/v1/sources": 200, "/api/v1/status": 403, "/ws": 426} {
		if code, _, body := r.get(path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
		if code, _, body := r.get(path, as(access.NewToken())...); code != 401 {
			t.Errorf("%s with a wrong token: %d %s", path, code, body)
		}
	}
	if code, _, body := r.get("/api/v1/caller"); code != 200 || strings.TrimSpace(body) != `{"name":"anonymous","may":["view"],"sources":["*"]}` {
		t.Errorf("%d %s", code, body)
	}
	open := b.startReady(t, nil)
	if code, _, body := open.get("/api/v1/caller", as(access.NewToken())...); code != 200 || strings.TrimSpace(body) != `{"name":"anonymous","may":["view","predict","status"],"sources":["*"]}` {
		t.Errorf("open: %d %s", code, body)
	}
	k := newTokens(t)
	wall := k.add("wall", "view, manage", `"cam*"`, ", expires: 2099-12-31")
	closed := b.startReady(t, k.use)
	if code, _, body := closed.get("/api/v1/caller", as(wall)...); code != 200 || strings.TrimSpace(body) != `{"name":"wall","may":["view"],"sources":["cam*"],"expires":"2100-01-01T00:00:00Z"}` {
		t.Errorf("%d %s", code, body)
	}
}

// A gateway does not start with a file that is wrong, and says which entry.
func TestWrongTokensAtTheStart(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	k := newTokens(t)
	k.add("wall", "veiw", every, "")
	var cfg gateway.Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	cfg.HTTP = "127.0.0.1:0"
	k.use(&cfg)
	err := gateway.Run(t.Context(), cfg, service.Env{Bus: b.bus, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: new(telemetry.Health)})
	if !errors.Is(err, gateway.ErrConfig) || !strings.Contains(err.Error(), "tokens.yaml: token 1 (wall, line 2): may: there are view") {
		t.Errorf("%v", err)
	}
}
