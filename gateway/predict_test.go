package gateway_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// answer is what POST /predict said.
type answer struct {
	code   int
	header http.Header
	body   string
	api.Prediction
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

// post sends data as the form's field, or, when field is empty, as it is.
func (r *runner) post(path, field string, data []byte, header ...string) answer {
	r.t.Helper()
	body, kind := bytes.NewBuffer(nil), "image/jpeg"
	if field == "" {
		body.Write(data)
	} else {
		form := multipart.NewWriter(body)
		part, err := form.CreateFormFile(field, "picture.jpg")
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := part.Write(data); err != nil {
			r.t.Fatal(err)
		}
		form.Close()
		kind = form.FormDataContentType()
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.address+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		r.t.Errorf("POST %s: %v", path, err)
		return answer{}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Error(err)
	}
	a := answer{code: response.StatusCode, header: response.Header, body: string(text)}
	if err := json.Unmarshal(text, &a); err != nil {
		r.t.Errorf("%d, %q is no JSON: %v", a.code, text, err)
	}
	return a
}

// models answers predict's frames in place of workers and fuser, after a while.
type models struct {
	after  time.Duration
	change func(*flow.Scene) // nil in its place: no scene
	silent bool
	more   []string // groups beside detect and depth that have a worker

	mu         sync.Mutex
	now, most  int
	pictures   [][]byte
	plan       []string // of the last one
	stopAnswer []string // groups that do not answer
}

func (b bench) answerPredict(t *testing.T, m *models) {
	t.Helper()
	sub, err := b.bus.Conn().Subscribe(flow.AllAccepted(flow.ModeLive), func(msg *nats.Msg) {
		var f flow.Frame
		if err := flow.Decode(msg.Data, &f); err != nil || f.Validate() != nil || !strings.HasPrefix(f.Source, flow.PredictPrefix) {
			t.Errorf("frame %+v: %v", f.ID(), err)
			return
		}
		if f.Version != flow.Wire || f.Partition != flow.Partition(f.Source, flow.DefaultPartitions) {
			t.Errorf("frame of version %d in partition %d", f.Version, f.Partition)
		}
		m.mu.Lock()
		m.now++
		m.most, m.pictures = max(m.most, m.now), append(m.pictures, f.Picture)
		m.plan = f.Plan
		m.mu.Unlock()
		go func() {
			time.Sleep(m.after)
			m.mu.Lock()
			m.now--
			m.mu.Unlock()
			for _, group := range f.Plan {
				if !slices.Contains(m.stopAnswer, group) {
					_ = b.bus.PublishDone(group, f.Source, flow.Done{Version: 1, Session: f.Session, Seq: f.Seq, Outcome: flow.OutcomeComplete})
				}
			}
			scene := newScene(t, f.Source, f.Session, f.Seq)
			scene.Mode, scene.Width, scene.Height, scene.Plan = flow.ModeLive, f.Width, f.Height, f.Plan
			if m.change != nil {
				m.change(scene)
			}
			if !m.silent {
				_ = b.bus.PublishScene(context.WithoutCancel(t.Context()), scene)
			}
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for _, group := range append([]string{"detect", "depth"}, m.more...) {
		// Frames are kept until they are acked: here nobody works on them, so they are dropped at once.
		messages, err := b.bus.TakeFrames(t.Context(), group, flow.ModeLive, 8)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(messages.Stop)
		go func() {
			for {
				msg, err := messages.Next()
				if err != nil {
					return
				}
				_ = msg.Ack()
			}
		}()
		go func() {
			for {
				_ = b.bus.PublishAlive(flow.Alive{Stage: group, Instance: "test"})
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		}()
	}
}

// startPredict is a gateway that knows of the workers.
func (b bench) startPredict(t *testing.T, m *models, change func(*gateway.Config)) *runner {
	t.Helper()
	r := b.startReady(t, change)
	b.answerPredict(t, m)
	r.eventually("workers", func() bool { return r.post("/predict", "nothing", nil).code == http.StatusBadRequest })
	return r
}

func TestPredict(t *testing.T) {
	t.Parallel()
	m := &models{}
	r := newProvisionedBench(t).startPredict(t, m, nil)
	data := picture(t, 3)
	a := r.post("/predict", "file", data)
	if a.code != 200 || len(a.Detections) != 1 || a.Detections[0].Box != [4]float32{8, 8, 40, 40} || a.Detections[0].Label != "person" || a.Detections[0].DepthScore == nil {
		t.Fatalf("%d %s", a.code, a.body)
	}
	if len(m.pictures) != 1 || !bytes.Equal(m.pictures[0], data) {
		t.Error("the picture did not travel byte for byte")
	}
	// The map falls from 9 to 1: 3/8 of the way, which is the box's middle, is about 6.
	if v := *a.Detections[0].DepthScore; v < 5.3 || v > 6.7 {
		t.Errorf("depth score %v, want about 6", v)
	}
	size, err := jpeg.DecodeConfig(bytes.NewReader(a.DepthMap))
	if err != nil || size.Width != 64 || size.Height != 48 {
		t.Errorf("depth map of %dx%d, %v, want the picture's size", size.Width, size.Height, err)
	}
	for _, key := range []string{`"bbox":[`, `"conf":`, `"class_id":`, `"label":"person"`, `"depth_score":`, `"depth_map":"/9j/`} {
		if !strings.Contains(a.body, key) {
			t.Errorf("no %s in %s", key, a.body)
		}
	}
	small := r.post("/predict?depth_size=map&classes=car,Person", "file", data)
	if size, err := jpeg.DecodeConfig(bytes.NewReader(small.DepthMap)); err != nil || size.Width != 16 || size.Height != 12 || len(small.Detections) != 1 {
		t.Errorf("depth map of %dx%d, %v, %d boxes; want the map's size and the person", size.Width, size.Height, err, len(small.Detections))
	}
	if none := r.post("/predict?classes=car", "file", data); none.code != 200 || !strings.Contains(none.body, `"detections":[]`) {
		t.Errorf("no cars: %d %s", none.code, none.body)
	}
	if _, _, body := r.get("/api/v1/sources"); strings.Contains(body, flow.PredictPrefix) {
		t.Errorf("posted pictures are shown to viewers: %s", body)
	}
}

func TestPredictRefuses(t *testing.T) {
	t.Parallel()
	r := newProvisionedBench(t).startPredict(t, &models{}, nil)
	good := picture(t, 1)
	for name, test := range map[string]struct {
		path, field string
		data        []byte
		header      []string
		code        int
		says        string
	}{
		"text":         {"/predict", "file", []byte("no picture"), nil, 400, "begins like no JPEG"},
		"empty":        {"/predict", "file", nil, nil, 400, "empty"},
		"other field":  {"/predict", "image", good, nil, 400, `no field "file"`},
		"no form":      {"/predict", "", good, nil, 400, "multipart/form-data"},
		"cut form":     {"/predict", "", []byte("--b\r\n"), []string{"Content-Type", "multipart/form-data; boundary=b"}, 400, "file"},
		"too large":    {"/predict", "file", make([]byte, 16<<20+1), nil, 413, "16 MiB"},
		"much larger":  {"/predict", "other", make([]byte, 17<<20), nil, 413, "16 MiB"},
		"parameter":    {"/predict?size=3", "file", good, nil, 400, "classes and depth_size"},
		"depth_size":   {"/predict?depth_size=4", "file", good, nil, 400, "neither picture nor map"},
		"foreign page": {"/predict", "file", good, []string{"Origin", "https://evil.example.com"}, 403, "--origins"},
	} {
		if a := r.post(test.path, test.field, test.data, test.header...); a.code != test.code || !strings.Contains(a.Error, test.says) {
			t.Errorf("%s: %d %s, want %d and %q", name, a.code, a.body, test.code, test.says)
		}
	}
	if code, header, _ := r.get("/predict"); code != 405 || header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, allowed %q", code, header.Get("Allow"))
	}
	if n := r.metric("spatialflow_refused_total", "door", "predict"); n < 10 {
		t.Errorf("%v refusals are counted, want each", n)
	}
	if a := r.post("/predict", "file", good); a.code != 200 {
		t.Errorf("afterwards: %d %s", a.code, a.body)
	}
}

// Without workers, or without an answer, the caller is told which group is to blame.
func TestPredictNamesTheGroup(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	if a := r.post("/predict", "file", picture(t, 1)); a.code != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.Error, "group detect has no worker") {
		t.Errorf("no workers: %d %s", a.code, a.body)
	}
	m := &models{change: func(s *flow.Scene) { s.Missing, s.Outcome = []string{"depth"}, flow.OutcomePartial }, stopAnswer: []string{"depth"}}
	b.answerPredict(t, m)
	r.eventually("workers", func() bool { return r.post("/predict", "nothing", nil).code == http.StatusBadRequest })
	if a := r.post("/predict", "file", picture(t, 1)); a.code != 504 || !strings.Contains(a.Error, "no answer of depth") || strings.Contains(a.Error, "10s") {
		t.Errorf("depth is missing: %d %s", a.code, a.body)
	}
	failed := r.metric("spatialflow_predict_failed_total", "reason", "missing")
	for name, test := range map[string]struct {
		failures     map[string]flow.Failure
		code         int
		says, reason string
	}{
		"of the picture":   {map[string]flow.Failure{"detect": {Class: flow.ClassPicture}}, 400, "detect: cut short", "picture"},
		"by older workers": {nil, 400, "detect: cut short", "picture"},
		"of the workers":   {map[string]flow.Failure{"detect": {Class: flow.ClassLost, Cause: flow.CauseModel}}, 502, "given up: detect: cut short", "lost"},
		"of another group": {map[string]flow.Failure{"pose": {Class: flow.ClassLost}}, 400, "detect: cut short", "picture"},
	} {
		m.change = func(s *flow.Scene) {
			s.Outcome, s.Errors, s.Failures = flow.OutcomeError, map[string]string{"detect": "cut short"}, test.failures
		}
		refused, lost := r.metric("spatialflow_refused_total", "door", "predict"), r.metric("spatialflow_predict_failed_total", "reason", "lost")
		a := r.post("/predict", "file", picture(t, 1))
		if a.code != test.code || !strings.Contains(a.Error, test.says) || a.Reason != test.reason {
			t.Errorf("an error %s: %d %s", name, a.code, a.body)
		}
		refused, lost = r.metric("spatialflow_refused_total", "door", "predict")-refused, r.metric("spatialflow_predict_failed_total", "reason", "lost")-lost
		if bad := test.code < 500; refused != map[bool]float64{true: 1}[bad] || lost != map[bool]float64{false: 1}[bad] {
			t.Errorf("an error %s: counted as bad input %v times, as a failure %v", name, refused, lost)
		}
	}
	if failed != 1 || r.metric("spatialflow_refused_total", "door", "predict", "reason", "no_worker") != 0 {
		t.Errorf("what the service fails at is counted as bad input; as missing %v times", failed)
	}
}

// A picture whose header says that decoding it would take too much is not decoded, at any size of its file.
func TestPredictRefusesBombs(t *testing.T) {
	t.Parallel()
	b := newBenchAt(t, "127.0.0.1:0")
	b.provision(t)
	r, process := b.program(t, "127.0.0.1")
	b.answerPredict(t, &models{})
	r.eventually("workers", func() bool { return r.post("/predict", "nothing", nil).code == http.StatusBadRequest })
	bomb := deepPNG(t, 8192, 8192)
	if len(bomb) > 4<<20 {
		t.Fatalf("the bomb takes %d bytes", len(bomb))
	}
	small := new(bytes.Buffer)
	if err := png.Encode(small, image.NewGray(image.Rect(0, 0, 64, 64))); err != nil {
		t.Fatal(err)
	}
	before := peakMemory(t, process)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			if a := r.post("/predict", "file", bomb); a.code != 400 || a.Reason != "picture" || !strings.Contains(a.Error, "8192x8192") {
				t.Errorf("the bomb: %d %s", a.code, a.body)
			}
		})
		callers.Go(func() {
			if a := r.post("/predict", "file", small.Bytes()); a.code != 200 {
				t.Errorf("a small picture beside it: %d %s", a.code, a.body)
			}
		})
	}
	callers.Wait()
	if after := peakMemory(t, process); after > before+200<<20 {
		t.Errorf("%d MiB before the bombs, %d after", before>>20, after>>20)
	}
}

// deepPNG is a PNG of 16 bits and with transparency, all of one colour.
func deepPNG(t *testing.T, width, height int) []byte {
	t.Helper()
	out := bytes.NewBufferString("\x89PNG\r\n\x1a\n")
	chunk := func(name string, content []byte) {
		data := append([]byte(name), content...)
		_ = binary.Write(out, binary.BigEndian, uint32(len(content)))
		out.Write(data)
		_ = binary.Write(out, binary.BigEndian, crc32.ChecksumIEEE(data))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(width)), uint32(height))
	chunk("IHDR", append(header, 16, 6, 0, 0, 0))
	var pixels bytes.Buffer
	packed, row := zlib.NewWriter(&pixels), make([]byte, 1+8*width)
	for i := range row[1:] {
		row[1+i] = 128
	}
	for range height {
		if _, err := packed.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	chunk("IDAT", pixels.Bytes())
	chunk("IEND", nil)
	return out.Bytes()
}

// peakMemory is the most memory that a process has held, in bytes.
func peakMemory(t *testing.T, process *os.Process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB int
	if _, err := fmt.Sscanf(rest, "%d kB", &kB); err != nil {
		t.Fatal(err)
	}
	return kB << 10
}

// Callers that announce a picture and send nothing hold nothing that others need.
func TestPredictBesideSilentCallers(t *testing.T) {
	t.Parallel()
	b := newBenchAt(t, "127.0.0.1:0")
	b.provision(t)
	r, _ := b.program(t, "127.0.0.1")
	b.answerPredict(t, &models{})
	r.eventually("workers", func() bool { return r.post("/predict", "nothing", nil).code == http.StatusBadRequest })
	const silent = 80 // more than have a place, and five times what would take all memory
	head := "POST /predict HTTP/1.1\r\nHost: " + r.address + "\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 16777216\r\n\r\n"
	form := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n"
	var conns []net.Conn
	for i := range silent {
		conn := r.dialTCP(patience)
		if _, err := conn.Write([]byte(head + form[:i%2*len(form)])); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for range 3 {
		if a := r.post("/predict", "file", picture(t, 1)); a.code != 200 {
			t.Errorf("beside %d silent callers: %d %s", silent, a.code, a.body)
		}
	}
	for _, conn := range conns[:4] {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var p api.Problem
		if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || answer.StatusCode != http.StatusRequestTimeout || p.Reason != "too_slow" {
			t.Errorf("a silent caller is answered %d %+v, %v", answer.StatusCode, p, err)
		}
		answer.Body.Close()
	}
}

// A picture needs the answers of the groups that are required; others are asked when they have a worker, and shadows never.
func TestPredictAsksOptionalGroups(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		need    flow.Need
		workers []string
		plan    string
		code    int
	}{
		"required, without a worker": {flow.NeedRequired, nil, "", 503},
		"optional, without a worker": {flow.NeedOptional, nil, "[detect depth]", 200},
		"optional":                   {flow.NeedOptional, []string{"pose"}, "[detect depth pose]", 200},
		"shadow":                     {flow.NeedShadow, []string{"pose"}, "[detect depth]", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.provision(t, flow.Group{Name: "pose", Slot: 3, Need: test.need})
			m := &models{more: test.workers, change: func(s *flow.Scene) {
				s.Missing, s.Outcome, s.Errors = []string{"pose"}, flow.OutcomePartial, map[string]string{"pose": "too dark"}
			}}
			r := b.startReady(t, nil)
			b.answerPredict(t, m)
			r.eventually("workers", func() bool {
				_, _, body := r.get("/api/v1/status")
				return strings.Count(body, `"workers":1`) == 2+len(test.workers)
			})
			if a := r.post("/predict", "file", picture(t, 1)); a.code != test.code {
				t.Errorf("%d %s, want %d", a.code, a.body, test.code)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if test.plan != "" && fmt.Sprint(m.plan) != test.plan {
				t.Errorf("asked are %v, want %s", m.plan, test.plan)
			}
		})
	}
}

// More callers than there is room for get an answer or 503, and no more pictures than allowed are under way.
func TestPredictUnderLoad(t *testing.T) {
	t.Parallel()
	m := &models{after: 30 * time.Millisecond}
	r := newProvisionedBench(t).startPredict(t, m, func(c *gateway.Config) { c.Predict.Queue = 20 })
	data := picture(t, 2)
	codes := make(chan int, 64)
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			a := r.post("/predict", "file", data)
			if a.code == 503 && a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			codes <- a.code
		})
	}
	callers.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	if count[200] < 20 || count[200]+count[503] != 64 {
		t.Errorf("codes %v, want 200 and 503 only", count)
	}
	if m.most > 4 {
		t.Errorf("%d pictures were under way at once, want at most 4", m.most)
	}
	if a := r.post("/predict", "file", data); a.code != 200 {
		t.Errorf("afterwards: %d %s", a.code, a.body)
	}
}

// A caller that hangs up leaves its picture under way, which counts until its scene is there.
func TestPredictCallerGone(t *testing.T) {
	t.Parallel()
	m := &models{after: 3 * time.Second}
	r := newProvisionedBench(t).startPredict(t, m, func(c *gateway.Config) { c.Predict.Inflight = 2 })
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "a.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(picture(t, 1)); err != nil {
		t.Fatal(err)
	}
	form.Close()
	seen := func() int { m.mu.Lock(); defer m.mu.Unlock(); return len(m.pictures) }
	for tries := 0; tries < 6 || seen() == 0; tries++ { // a busy machine may not come to the first ones
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.address+"/predict", bytes.NewReader(body.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", form.FormDataContentType())
		if response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request); err == nil {
			response.Body.Close()
			t.Errorf("answered %d in less than the models take", response.StatusCode)
		}
		cancel()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.pictures) == 0 || m.most > 2 {
		t.Errorf("%d pictures, %d at once, want 1 to 2", len(m.pictures), m.most)
	}
}
