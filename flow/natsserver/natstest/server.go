package natstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is one server, running or not.
type Server struct {
	settings settings

	mu      sync.Mutex
	command *exec.Cmd // nil while it does not run
	stdin   io.Closer // its end ends the server
}

// Name is the server's name in the cluster.
func (s *Server) Name() string { return s.settings.Name }

// URL is where clients reach the server, also the next one in its place.
func (s *Server) URL() string { return "nats://" + address(s.settings.Client) }

// Folder is where the server stores: jetstream/$G/streams/<stream>/msgs holds a stream's messages.
func (s *Server) Folder() string { return s.settings.Folder }

// Running tells whether the server was started and not killed since.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.command != nil
}

// Start starts the server on its folder and its ports; [Cluster.Wait] waits until it serves. One that runs is left alone.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command != nil {
		return
	}
	text, err := json.Marshal(s.settings)
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close() // the process has its own
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), asServer+"="+string(text))
	command.Stdout, command.Stderr = said, said
	if s.stdin, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", s.Name(), err)
	}
	s.command = command
}

// Kill is kill -9. The server is gone when it returns; one that does not run is left alone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		return
	}
	_ = s.command.Process.Kill() // it may have ended by itself
	_ = s.command.Wait()         // says that it was killed
	s.stdin.Close()
	s.command = nil
}

// Pause holds the server still, as a machine that stalls does: its connections stay. It stands when Pause returns;
// [Server.Resume] lets it go on.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	pid := s.signal(t, syscall.SIGSTOP)
	var status syscall.WaitStatus
	for { // the signal reaches its threads one after the other
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		if err == nil && status.Stopped() {
			return
		}
		if !errors.Is(err, syscall.EINTR) {
			t.Fatalf("%s does not stand still but has ended: %v", s.Name(), err)
		}
	}
}

// Resume lets a server go on that is held still.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, signal syscall.Signal) (pid int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		t.Fatalf("%s does not run", s.Name())
	}
	if err := s.command.Process.Signal(signal); err != nil {
		t.Fatalf("%v to %s: %v", signal, s.Name(), err)
	}
	return s.command.Process.Pid
}

// Mark is how long the files were, into which a server writes, at a moment. Bytes by path.
type Mark map[string]int64

// Mark notes how far the server has written: streams' messages and, in a cluster, the logs of their replication.
func (s *Server) Mark(t testing.TB) Mark {
	t.Helper()
	mark := Mark{}
	err := filepath.WalkDir(s.settings.Folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".blk" {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		mark[path] = info.Size()
		return nil
	})
	if err != nil {
		t.Fatalf("look at what %s has stored: %v", s.Name(), err)
	}
	return mark
}

// ignoreGone: a running server removes files.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// LosePower kills the server and takes away what it has appended since the mark, as when the power fails before the
// system has written it to the disk: JetStream acknowledges a message before (sync_interval, 2 minutes). What was
// removed since stays removed, and the small files beside the messages, which it replaces as a whole, stay as they are;
// a real loss may keep either.
func (s *Server) LosePower(t testing.TB, since Mark) {
	t.Helper()
	s.Kill()
	for path, size := range s.Mark(t) {
		before, there := since[path]
		var err error
		switch {
		case !there:
			err = os.Remove(path)
		case before < size:
			err = os.Truncate(path, before)
		}
		if err != nil {
			t.Fatalf("take away what %s has written: %v", s.Name(), err)
		}
	}
}

// client has no connection that outlives its question.
var client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// monitor asks the server's monitoring port.
func (s *Server) monitor(path string, into any) error {
	answer, err := client.Get("http://" + address(s.settings.Monitor) + path)
	if err != nil {
		return fmt.Errorf("ask %s: %w", s.Name(), err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("read what %s says: %w", s.Name(), err)
	}
	return nil
}

func (s *Server) healthy() error {
	var health server.HealthStatus
	if err := s.monitor("/healthz", &health); err != nil {
		return err
	}
	if health.Status != "ok" {
		return fmt.Errorf("%s is %s: %s", s.Name(), health.Status, health.Error)
	}
	return nil
}

// meta is what the server knows of the cluster; only its leader knows of the others.
func (s *Server) meta() (server.MetaClusterInfo, error) {
	var state server.JSInfo
	if err := s.monitor("/jsz", &state); err != nil {
		return server.MetaClusterInfo{}, err
	}
	if state.Meta == nil {
		return server.MetaClusterInfo{}, fmt.Errorf("%s is in no cluster yet", s.Name())
	}
	return *state.Meta, nil
}

// log is the file of what the server says.
func (s *Server) log() string { return s.settings.Folder + ".log" }

// end kills the server, and tells the last it has said when the test has failed.
func (s *Server) end(t testing.TB) {
	s.Kill()
	if !t.Failed() {
		return
	}
	text, err := os.ReadFile(s.log())
	if err != nil {
		t.Logf("what %s said: %v", s.Name(), err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	t.Logf("%s said last:\n%s", s.Name(), strings.Join(lines[max(0, len(lines)-40):], "\n"))
}
