package runs

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/producer/owner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func TestRunsAreListedAndForgotten(t *testing.T) {
	t.Parallel()
	s, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	b, err := s.Connect("test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	flags := reach{Timeout: time.Minute}
	flags.NATS = s.URL()
	var out bytes.Buffer
	if err := (List{reach: flags}).Print(t.Context(), &out); !errors.Is(err, bus.ErrNotProvisioned) {
		t.Errorf("before provisioning: %v, want ErrNotProvisioned", err)
	}
	if err := b.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	for _, run := range []struct {
		source, name string
		position     flow.Position
	}{{"film", "monday", flow.Position{Seq: 42, Partition: 7}}, {"film", "tuesday", flow.Position{Seq: 3, Partition: 1}}, {"cam1", "x", flow.Position{}}} {
		if err := b.SetPosition(t.Context(), run.source, run.name, run.position); err != nil {
			t.Fatal(err)
		}
	}
	for run, end := range map[string]uint64{"monday": 42, "tuesday": 2} { // which was carried on
		if err := b.SetEnded(t.Context(), "film", run, end); err != nil {
			t.Fatal(err)
		}
	}
	list := func(source string) (rows []string) {
		t.Helper()
		out.Reset()
		if err := (List{reach: flags, Source: source}).Print(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
			fields := strings.Fields(line)
			if i > 0 {
				fields[4] = "AGE"
			}
			rows = append(rows, strings.Join(fields, " "))
		}
		return rows[1:]
	}
	if got, want := strings.Join(list(""), "; "), "cam1 x 0 0 AGE no; film monday 42 7 AGE yes; film tuesday 3 1 AGE no"; got != want {
		t.Errorf("runs are %s, want %s", got, want)
	}
	forget := func(source, run string) error {
		out.Reset()
		return Forget{reach: flags, Source: source, Run: run}.Do(t.Context(), &out)
	}
	if err := forget("film", "friday"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a run that is not there: %v, want ErrNotFound", err)
	}
	lease, err := b.Lease(t.Context(), owner.LeaseName("film"), "producer-7")
	if err != nil {
		t.Fatal(err)
	}
	if err := forget("film", "monday"); !errors.Is(err, ErrCarried) || !strings.Contains(err.Error(), "producer-7") || len(list("film")) != 2 {
		t.Errorf("a run that is being carried: %v, want ErrCarried, and who has it", err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := forget("film", "monday"); err != nil || out.String() != "forgotten: run monday of film, at frame 42\n" {
		t.Errorf("%v, it prints %s", err, &out)
	}
	if got, want := strings.Join(list("film"), "; "), "film tuesday 3 1 AGE no"; got != want {
		t.Errorf("runs of film are %s, want %s", got, want)
	}
	if err := forget("film", ""); err != nil || len(list("film")) != 0 || len(list("")) != 1 {
		t.Errorf("all of a source: %v, left %v", err, list(""))
	}
	if _, _, err := b.Position(t.Context(), "film", "tuesday"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("it is carried on: %v", err)
	}
}
