package producer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp/rtsptest"
)

// password has every character that a URL has a meaning for.
const password = "p@ss:w/rd#1%20"

// said is what a program has said so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(data)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// alive keeps what producers say of themselves.
func (b bench) alive(t *testing.T) *said {
	t.Helper()
	a := new(said)
	sub, err := b.bus.Conn().Subscribe("alive.>", func(msg *nats.Msg) { _, _ = a.Write(msg.Data) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	return a
}

// eventually waits until a source is so, and returns it as it is then.
func (l *life) eventually(name, what string, so func(flow.SourceStatus) bool) flow.SourceStatus {
	l.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		var last flow.SourceStatus
		for _, s := range l.board.Statuses() {
			if s.Source == name {
				last = s
			}
		}
		if last.Source != "" && so(last) {
			return last
		}
		if time.Since(begin) > patience {
			l.t.Fatalf("never: %s; %+v", what, last)
		}
	}
}

// A camera that misbehaves in every way gives pictures again each time. Its clock ends no session; a lost connection and another
// size do. Its password, with all that a URL may hold, is told nowhere.
func TestCameraMisbehaves(t *testing.T) { // alone: it looks at all children of this process
	small, large := rtsptest.Encode(t, "h264", 160, 96, 30), rtsptest.Encode(t, "h264", 320, 240, 30)
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	alive := b.alive(t)
	camera := rtsptest.New(t, small)
	camera.User, camera.Password = "admin", password
	camera.Start()
	camera.RefuseTCP(1)
	begin := time.Now()
	l := b.start(t, nil, "door=rtsp://admin:"+password+"@"+camera.Address()+"/live#decode=all") // with auto, a busy machine has a reason of its own
	more := func(what string, n uint64, so func(flow.SourceStatus) bool) flow.SourceStatus {
		t.Helper()
		before := l.board.Statuses()[0]
		s := l.eventually("door", what, func(s flow.SourceStatus) bool {
			return s.Account.Captured >= before.Account.Captured+n && s.Reason == "" && (so == nil || so(s))
		})
		t.Logf("%s: pictures after %v", what, time.Since(begin).Round(time.Millisecond))
		return s
	}
	<-l.board.Named()
	first := more("TCP is refused", 20, nil)
	secrets(t, "children", children(t))
	if camera.Played("UDP") == 0 {
		t.Errorf("it played %d times over UDP, %d over TCP", camera.Played("UDP"), camera.Played("TCP"))
	}
	for _, jump := range []time.Duration{-time.Hour, time.Hour} {
		camera.Jump(jump)
		if now := more(fmt.Sprintf("its clock jumps by %v", jump), 40, nil); now.Session != first.Session && !strings.Contains(l.log.String(), "sends nothing") { // as on a machine that stood still
			t.Errorf("a jump of its clock by %v began a new session", jump)
		}
	}
	camera.Change(large)
	begin = time.Now()
	resized := more("another size", 20, func(s flow.SourceStatus) bool { return s.Session != first.Session })
	camera.Stop()
	l.eventually("door", "it says that it is lost", func(s flow.SourceStatus) bool { return strings.Contains(s.Reason, "connection refused") })
	camera.Start()
	begin = time.Now()
	restarted := more("restarted", 20, func(s flow.SourceStatus) bool { return s.Session != resized.Session })
	camera.Silence(true)
	silent := l.eventually("door", "it says that it is silent", func(s flow.SourceStatus) bool { return strings.Contains(s.Reason, "sends nothing") })
	if silent.Session != restarted.Session {
		t.Error("a session began without a picture")
	}
	camera.Silence(false)
	begin = time.Now()
	more("silent", 20, func(s flow.SourceStatus) bool { return s.Session != restarted.Session })
	camera.Stop()
	camera.Password = "some-b0dy"
	camera.Start()
	refused := l.eventually("door", "it says that the password is refused", func(s flow.SourceStatus) bool { return strings.Contains(s.Reason, "refuses the user or the password") })
	if !strings.Contains(refused.Reason, "asked again in 1 min") {
		t.Error(refused.Reason)
	}
	status, err := json.Marshal(l.stop())
	if err != nil {
		t.Fatal(err)
	}
	secrets(t, "status", string(status))
	secrets(t, "alive", alive.String())
	secrets(t, "log", l.log.String())
	if n := strings.Count(l.log.String(), "camera lost"); n < 3 || n > 20 {
		t.Errorf("its losses are logged %d times, want once for each reason:\n%s", n, l.log.String())
	}
	if err := l.board.Statuses()[0].Account.Check(); err != nil {
		t.Error(err)
	}
	if left := children(t); strings.Contains(left, "ffmpeg") {
		t.Errorf("left behind: %s", left)
	}
}

// secrets looks for a part of the password.
func secrets(t *testing.T, where, text string) {
	t.Helper()
	for _, part := range []string{"p@ss", "w/rd", "rd#1", "p%40ss", "w%2Frd", "b0dy"} {
		if i := strings.Index(text, part); i >= 0 {
			t.Errorf("%s: a part of the password in %q", where, text[max(0, i-80):min(len(text), i+80)])
		}
	}
}

// children is what everybody sees, or may see, of this process's children: their command lines and environments.
func children(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for pid := range strings.FieldsSeq(string(data)) {
			for _, file := range []string{"cmdline", "environ"} {
				data, _ := os.ReadFile(filepath.Join("/proc", pid, file)) // it may have ended
				all.Write(data)
				all.WriteByte('\n')
			}
		}
	}
	return all.String()
}

// Sources come and go with the lines of the file; one that is wrong is told with its line, and the others go on.
func TestSourceFileChanges(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 64, 64, 30))
	camera.User, camera.Password = "admin", password
	camera.Start()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	dir := t.TempDir()
	path := filepath.Join(dir, "sources")
	version := 0
	write := func(lines ...string) { // as Kubernetes does: a link that is swapped
		t.Helper()
		version++
		real := filepath.Join(dir, fmt.Sprint("version", version))
		link := filepath.Join(dir, "next")
		if err := os.WriteFile(real, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, path); err != nil {
			t.Fatal(err)
		}
	}
	const street = "street=street:?size=64x64&fps=10"
	write(street, "door=rtsp://admin:wrong@"+camera.Address()+"/live", "bad=rtmp://u:S3cret@h/s")
	l := b.start(t, func(c *producer.Config) { c.SourceFile = path }, "other=street:?size=64x64&fps=5", "mine=street:?size=64x64&fps=5")
	l.eventually("door", "the wrong password is refused", func(s flow.SourceStatus) bool { return strings.Contains(s.Reason, "refuses") })
	first := l.eventually("street", "the street has frames", func(s flow.SourceStatus) bool { return s.Account.Complete > 3 })
	mine := l.eventually("mine", "what was given as a flag has frames", func(s flow.SourceStatus) bool { return s.Account.Complete > 3 })

	write("door=rtsp://admin:"+password+"@"+camera.Address()+"/live", street)
	l.eventually("door", "the right password is asked with at once", func(s flow.SourceStatus) bool { return s.Account.Complete > 3 && s.Reason == "" })
	if now := l.eventually("street", "the street goes on", func(flow.SourceStatus) bool { return true }); now.Session != first.Session || now.Account.Captured < first.Account.Captured {
		t.Error("a source whose line stayed began anew")
	}
	write(street, street, "file:relative", "", "# nothing")
	gone := func() bool {
		for _, s := range l.board.Statuses() {
			if s.Source == "door" {
				return false
			}
		}
		return true
	}
	for begin := time.Now(); !gone(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("a source stays whose line is gone: %+v", l.board.Statuses())
		}
	}
	write("") // as an editor that writes it anew leaves it for a moment
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil { // nobody ever writes into it
		t.Fatal(err)
	}
	now := l.eventually("mine", "it goes on without the file", func(s flow.SourceStatus) bool { return s.Account.Complete > mine.Account.Complete+5 })
	if now.Session != mine.Session {
		t.Error("a source that was given as a flag began anew")
	}
	for begin := time.Now(); !strings.Contains(l.log.String(), "no regular file"); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("nothing is said of a file that is a pipe")
		}
	}
	if n := len(l.stop()); n != 3 {
		t.Errorf("%d sources are left, want 3", n)
	}
	log := l.log.String()
	secrets(t, "log", log)
	if strings.Contains(log, "standing by") {
		t.Error("a source was given up that is nobody else's")
	}
	for _, want := range []string{path + ", line 3", path + ", line 2", "twice"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log", want)
		}
	}
	if strings.Contains(log, "S3cr") {
		t.Error("a password is in the log")
	}
	for _, s := range l.board.Statuses() {
		if err := s.Account.Check(); err != nil {
			t.Error(err)
		}
	}
}
