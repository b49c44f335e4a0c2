package producer_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/producer"
)

const patience = 3 * time.Minute

// bench is a provisioned server with a connection of the test's own.
type bench struct {
	connect func() (*bus.Bus, error)
	bus     *bus.Bus
}

func newBench(t testing.TB) bench {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	return bench{func() (*bus.Bus, error) { return server.Connect("producer", nil) }, b}
}

// life is one life of a producer.
type life struct {
	t       *testing.T
	bus     *bus.Bus
	board   *producer.Board
	metrics *prometheus.Registry
	health  *telemetry.Health
	log     *said
	cancel  context.CancelFunc
	ended   chan error
}

// start runs a producer over sources; change, unless nil, changes its settings.
func (b bench) start(t *testing.T, change func(*producer.Config), sources ...string) *life {
	t.Helper()
	var cfg producer.Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Sources, cfg.Status = sources, producer.NewBoard()
	if change != nil {
		change(&cfg)
	}
	connection, err := b.connect()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &life{t, connection, cfg.Status, prometheus.NewRegistry(), new(telemetry.Health), new(said), cancel, make(chan error, 1)}
	go func() {
		l.ended <- producer.Run(ctx, cfg, service.Env{Bus: connection, Log: slog.New(slog.NewTextHandler(l.log, nil)), Metrics: l.metrics, Health: l.health})
	}()
	t.Cleanup(func() { cancel(); connection.Close() })
	return l
}

// wait waits until every source has ended.
func (l *life) wait() []producer.Summary {
	l.t.Helper()
	select {
	case <-l.board.AllDone():
	case err := <-l.ended:
		l.ended <- err
	case <-time.After(patience):
		l.t.Fatalf("not done in time: %+v", l.board.Statuses())
	}
	return l.board.Summaries()
}

// stop ends the producer, which must end without an error.
func (l *life) stop() []producer.Summary {
	l.t.Helper()
	l.cancel()
	select {
	case err := <-l.ended:
		if err != nil {
			l.t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		l.t.Fatal("Run did not end in time")
	}
	return l.board.Summaries()
}

// fuser answers accepted frames with scenes, in place of workers and fuser.
type fuser struct {
	t    testing.TB
	bus  *bus.Bus
	lose func(flow.FrameID) (scene, done bool) // what is not stored, and what is not told
	// burst makes it wait until no frame has come for so long before it stores what has come.
	burst time.Duration
	// ordered makes it store scenes in the order of their frames, as the real one does: one that is missing holds up the others.
	ordered bool

	mu     sync.Mutex
	frames []*flow.Frame // accepted, in order
	most   int           // frames accepted and without a scene, at most
	stored int
	queue  chan *flow.Frame

	held map[flow.FrameID]*flow.Frame // while scenes are ordered
	last map[string]uint64            // seq of a session's last scene
}

// fuse starts a fuser; it ends with the test.
func (b bench) fuse(t testing.TB, f *fuser) *fuser {
	t.Helper()
	f.t, f.bus, f.queue = t, b.bus, make(chan *flow.Frame, 2048)
	sub, err := b.bus.Conn().Subscribe("accepted.lossless.>", f.accept)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); f.work(ctx) }()
	t.Cleanup(func() { _ = sub.Unsubscribe(); cancel(); <-ended })
	return f
}

func (f *fuser) accept(msg *nats.Msg) {
	frame := new(flow.Frame)
	if err := flow.Decode(msg.Data, frame); err != nil {
		f.t.Error(err)
		return
	}
	if err := frame.Validate(); err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	f.frames = append(f.frames, frame)
	f.most = max(f.most, len(f.frames)-f.stored)
	f.mu.Unlock()
	f.queue <- frame
}

func (f *fuser) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case frame := <-f.queue:
			for _, frame := range append([]*flow.Frame{frame}, f.come(ctx)...) {
				f.take(ctx, frame)
			}
		}
	}
}

// come is what comes until it has been quiet for f.burst.
func (f *fuser) come(ctx context.Context) (frames []*flow.Frame) {
	for f.burst > 0 {
		quiet := time.NewTimer(f.burst)
		select {
		case <-ctx.Done():
			return nil
		case frame := <-f.queue:
			frames = append(frames, frame)
		case <-quiet.C:
			return frames
		}
	}
	return nil
}

// take answers a frame, or, when scenes are ordered, all that may be answered now.
func (f *fuser) take(ctx context.Context, frame *flow.Frame) {
	if !f.ordered {
		f.answer(ctx, frame)
		return
	}
	f.mu.Lock()
	if f.held == nil {
		f.held, f.last = map[flow.FrameID]*flow.Frame{}, map[string]uint64{}
	}
	f.held[frame.ID()] = frame
	var ready []*flow.Frame
	for id := frame.ID(); ; {
		id.Seq = f.last[id.Session] + 1
		next := f.held[id]
		if next == nil {
			break
		}
		ready = append(ready, next)
		delete(f.held, id)
		f.last[id.Session] = id.Seq
	}
	f.mu.Unlock()
	for _, frame := range ready {
		f.answer(ctx, frame)
	}
}

func (f *fuser) answer(ctx context.Context, frame *flow.Frame) {
	scene := &flow.Scene{
		Version: frame.Version, Partition: frame.Partition, Source: frame.Source, Session: frame.Session, Seq: frame.Seq, Mode: frame.Mode,
		Captured: frame.Captured, Fused: time.Now().UnixNano(), Plan: frame.Plan, Outcome: flow.OutcomeComplete, Ledger: frame.Ledger,
	}
	if frame.Error != "" {
		scene.Outcome = flow.OutcomeError
	}
	var noScene, noDone bool
	if f.lose != nil {
		noScene, noDone = f.lose(frame.ID())
	}
	f.mu.Lock()
	f.stored++
	f.mu.Unlock()
	if !noScene {
		if err := f.bus.PublishScene(ctx, scene); err != nil && ctx.Err() == nil {
			f.t.Error(err)
		}
	}
	if noDone || noScene {
		return
	}
	for range 2 { // a second one changes nothing
		done := flow.Done{Version: flow.Wire, Session: frame.Session, Seq: frame.Seq, Outcome: scene.Outcome}
		if err := f.bus.PublishDone("fuser", frame.Source, done); err != nil && ctx.Err() == nil {
			f.t.Error(err)
		}
	}
}

// accepted is the frames of one source, in order, and the most that were open at once.
func (f *fuser) accepted(source string) (frames []*flow.Frame, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.frames), func(frame *flow.Frame) bool { return frame.Source != source }), f.most
}

// wantSeqs wants exactly the frames 1 to n of a source, in order.
func (f *fuser) wantSeqs(source string, n int) {
	f.t.Helper()
	frames, _ := f.accepted(source)
	if len(frames) != n {
		f.t.Errorf("%d frames of %s were stored, want %d", len(frames), source, n)
	}
	for i, frame := range frames {
		if frame.Seq != uint64(i)+1 {
			f.t.Fatalf("frame %d of %s has seq %d", i+1, source, frame.Seq)
		}
	}
}

// wantComplete wants every source complete and its account of n frames balanced.
func wantComplete(t *testing.T, summaries []producer.Summary, n uint64) {
	t.Helper()
	for _, s := range summaries {
		if s.State != flow.StateComplete || s.Account.Admitted != n || s.Account.Captured != n {
			t.Errorf("%s: %s %s, account %+v, want %d frames", s.Source, s.State, s.Reason, s.Account, n)
		}
		if err := s.Account.CheckAtRest(); err != nil {
			t.Errorf("%s: %v", s.Source, err)
		}
	}
}

// pictures is a folder of n small pictures.
func pictures(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		img := image.NewGray(image.Rect(0, 0, 32, 16))
		img.SetGray(i%32, 0, color.Gray{Y: 200})
		writeJPEG(t, filepath.Join(dir, fmt.Sprintf("p%d.jpg", i+1)), img)
	}
	return dir
}

// movie is a video of n frames of width x height.
func movie(t testing.TB, n, width, height int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "movie.avi")
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc=s=%dx%d:r=10", width, height), "-frames:v", strconv.Itoa(n),
		"-c:v", "mjpeg", "-pix_fmt", "yuvj420p", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a film: %v\n%s", err, out)
	}
	return path
}

func writeJPEG(t testing.TB, path string, img image.Image) {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
