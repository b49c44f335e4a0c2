package natsserver_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func start(t *testing.T, dir string) *natsserver.Server {
	t.Helper()
	s, err := natsserver.Start(dir, "", "", quiet)
	if err != nil {
		t.Fatalf("server does not start: %v", err)
	}
	return s
}

func connect(t *testing.T, s *natsserver.Server) *bus.Bus {
	t.Helper()
	b, err := s.Connect("test", quiet)
	if err != nil {
		t.Fatalf("no connection to the embedded server: %v", err)
	}
	return b
}

func TestFolderBelongsToOneServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	second, err := natsserver.Start(dir, "", "", quiet)
	if err == nil {
		second.Stop()
		first.Stop()
		t.Fatal("two servers run on one folder: they ruin it")
	}
	if !errors.Is(err, natsserver.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second server: %v, want ErrInUse naming %s", err, dir)
	}
	connect(t, first).Close() // the first goes on working
	other := start(t, t.TempDir())
	other.Stop()
	first.Stop()
	start(t, dir).Stop()
}

func TestMessagesSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "start")
	s := start(t, dir)
	b := connect(t, s)
	config := jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}, Storage: jetstream.FileStorage}
	if _, err := b.JetStream().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if _, err := b.JetStream().Publish(t.Context(), "kept", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	s.Stop()

	s = start(t, dir)
	defer s.Stop()
	b = connect(t, s)
	defer b.Close()
	stream, err := b.JetStream().Stream(t.Context(), "KEPT")
	if err != nil {
		t.Fatalf("the stream did not survive: %v", err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 2 {
		t.Errorf("%d messages survived, want 2", n)
	}
	if msg, err := stream.GetMsg(t.Context(), 2); err != nil || string(msg.Data) != "two" {
		t.Errorf("second message is %v, %v", msg, err)
	}
}

// A folder that JetStream can't use is told at once, with the reason, and is free again.
func TestStartSaysWhyItFails(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "nats")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := natsserver.Start(dir, "", "", quiet)
	if err == nil {
		s.Stop()
		t.Fatal("a server without JetStream counts as started")
	}
	if errors.Is(err, natsserver.ErrInUse) || !strings.Contains(err.Error(), "JetStream") || !strings.Contains(err.Error(), dir) {
		t.Errorf("error is %q, want one that names JetStream and %s", err, dir)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	start(t, dir).Stop()
}

func TestStartRefusesAFileAsFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := natsserver.Start(file, "", "", quiet); err == nil || errors.Is(err, natsserver.ErrInUse) {
		if s != nil {
			s.Stop()
		}
		t.Errorf("a file as data folder: %v", err)
	}
}

// max_payload decides what a frame may weigh: the two constants must agree.
func TestServerTakesTheLargestMessage(t *testing.T) {
	s := start(t, t.TempDir())
	defer s.Stop()
	b := connect(t, s)
	defer b.Close()
	if got := b.Conn().MaxPayload(); got != bus.MaxPayload {
		t.Errorf("max_payload of the server is %d, want %d", got, bus.MaxPayload)
	}
}
