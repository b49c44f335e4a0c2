//go:build long && rigged

package standalone

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/workers"
)

// worker starts one more worker of a group, with settings of a program that is rigged for a test.
func (f *fleet) worker(group string, environment []string, arguments ...string) *process {
	f.t.Helper()
	detect, depth := noCost(f.t)
	model := map[string]string{flow.GroupDetect: detect, flow.GroupDepth: depth}[group]
	d := &deployment{t: f.t}
	return d.start("worker", func() *exec.Cmd {
		command := exec.Command(os.Args[0], append([]string{"--nats", f.nats.URL(), "--admin", "", "--group", group, "--model", model, "--parallel", "2", "--threads", "1"}, arguments...)...)
		command.Env = append(append(os.Environ(), asProgram+"=worker"), environment...)
		return command
	})
}

// gateway starts one, and returns what asks how many workers of a group its status knows, and what they say.
func (f *fleet) gateway() (workersOf func(group string) (n int, notes string)) {
	f.t.Helper()
	address := porttest.Address(f.t)
	f.service("gateway", "--http", address)
	return func(group string) (n int, notes string) {
		answer, err := http.Get("http://" + address + "/api/v1/status")
		if err != nil {
			return 0, ""
		}
		defer answer.Body.Close()
		var status struct {
			Services []struct {
				Stage string `json:"stage"`
				State string `json:"state"`
				Note  string `json:"note"`
			} `json:"services"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
			return 0, ""
		}
		for _, s := range status.Services {
			if s.Stage == group && s.State == "alive" {
				n++
				notes += s.Note
			}
		}
		return n, notes
	}
}

// Of two depth workers one breaks in the middle of a film: every run of its model fails, or puts out what is no number. The film has
// all its scenes, each complete, and the broken worker is gone within seconds.
func TestBrokenWorkerAmongTwo(t *testing.T) {
	const frames = 795
	for name, rig := range map[string]string{"its runs fail": "SPATIALFLOW_RIG_FAIL_AFTER=50", "it puts out NaN": "SPATIALFLOW_RIG_NAN_AFTER=50"} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 1)
			workersOf := f.gateway()
			broken := f.worker(flow.GroupDepth, []string{"SPATIALFLOW_RIG_WORK=10ms", rig})
			eventually(t, "both workers are on the status page", func() bool { n, _ := workersOf(flow.GroupDepth); return n == 2 })
			producer := f.film(frames)
			var ended time.Time
			select {
			case err := <-broken.ended:
				broken.ended <- nil
				ended = time.Now()
				exit := new(exec.ExitError)
				if !errors.As(err, &exit) || exit.ExitCode() != workers.ExitBroken {
					t.Errorf("the broken worker ended with %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the broken worker does not end")
			}
			eventually(t, "it is gone from the status page", func() bool { n, _ := workersOf(flow.GroupDepth); return n == 1 })
			gone := time.Since(ended)
			t.Logf("gone from the status page %v after its end", gone)
			if gone > 5*time.Second {
				t.Errorf("it took %v", gone)
			}
			f.completes(producer)
			f.wantExact(frames)
			f.wantComplete()
		})
	}
}

// Of two depth workers one has a model that hangs: the film goes on within the deadline of its inference and AckWait, and has all its
// scenes, each complete.
func TestHungWorkerAmongTwo(t *testing.T) {
	const frames, deadline, ackWait = 300, 2 * time.Second, 3 * time.Second
	f := newFleet(t, 1)
	hung := f.worker(flow.GroupDepth, []string{"SPATIALFLOW_RIG_WORK=10ms", "SPATIALFLOW_RIG_HANG_AFTER=50"}, "--infer-deadline", deadline.String())
	producer := f.film(frames)
	select {
	case err := <-hung.ended:
		hung.ended <- nil
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != workers.ExitBroken {
			t.Errorf("the hung worker ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the hung worker does not end")
	}
	f.completes(producer)
	f.wantExact(frames)
	f.wantComplete()
	gap := f.scenes.longest()
	t.Logf("longest time without a scene: %v", gap)
	if gap > deadline+ackWait {
		t.Errorf("%v without a scene, want %v at most", gap, deadline+ackWait)
	}
}

// Workers are killed and stopped again and again while a film is carried, and NATS is away in between: each frame has its scene,
// once, and complete.
func TestWorkersComeAndGo(t *testing.T) {
	const frames, every = 300, 30
	f := newFleet(t, 1)
	workers := []*process{f.worker(flow.GroupDepth, []string{"SPATIALFLOW_RIG_WORK=40ms"}), f.worker(flow.GroupDetect, []string{"SPATIALFLOW_RIG_WORK=40ms"})}
	producer := f.film(frames)
	for i := 1; i*every < frames; i++ {
		eventually(t, "scenes are stored", func() bool { // those of which was not heard while NATS was away, too
			scenes, err := f.bus.JetStream().Stream(t.Context(), "SCENES_LOSSLESS")
			return err == nil && int(scenes.CachedInfo().State.LastSeq) >= i*every
		})
		w := workers[i%len(workers)]
		switch i % 4 {
		case 0, 3:
			w.kill()
		case 1:
			if err := w.command.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := <-w.ended; err != nil {
				t.Errorf("a worker that was stopped ended with %v", err)
			}
		case 2:
			server := f.nats.Servers[0]
			server.Kill()
			time.Sleep(6 * time.Second) // longer than AckWait
			server.Start(t)
			f.nats.Wait(t)
			continue
		}
		w.run()
	}
	f.completes(producer)
	f.wantExact(frames)
	f.wantComplete()
}

// A worker whose first run hangs ends, and says why.
func TestWorkerThatHangsAtOnce(t *testing.T) {
	f := newFleet(t, 1)
	hung := f.worker(flow.GroupDepth, []string{"SPATIALFLOW_RIG_HANG_AFTER=0"}, "--warm-deadline", "1s")
	select {
	case err := <-hung.ended:
		hung.ended <- nil
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != workers.ExitBroken || !strings.Contains(hung.output.String(), "the model does not work here") {
			t.Errorf("it ended with %v, and said\n%s", err, hung.output.String())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// A worker whose model never works ends, and says why.
func TestWorkerThatNeverWorks(t *testing.T) {
	f := newFleet(t, 1)
	broken := f.worker(flow.GroupDepth, []string{"SPATIALFLOW_RIG_FAIL_AFTER=0"})
	select {
	case err := <-broken.ended:
		broken.ended <- nil
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != workers.ExitBroken || !strings.Contains(broken.output.String(), "the model does not work here") {
			t.Errorf("it ended with %v, and said\n%s", err, broken.output.String())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// wantComplete asks that every scene was complete.
func (f *fleet) wantComplete() {
	f.t.Helper()
	if n := f.scenes.incomplete(); n != 0 {
		f.t.Errorf("%d scenes are not complete", n)
	}
}

// A pipeline in one process whose model breaks ends, and says which group it is.
func TestUpEndsWhenAModelBreaks(t *testing.T) {
	detect, depth := noCost(t)
	command, said := program(t, "up", "--http", "127.0.0.1:0", "--admin", "", "--source", pictures(t, 500), "--detect-model", detect, "--depth-model", depth)
	command.Env = append(command.Env, "SPATIALFLOW_RIG_FAIL_AFTER=50")
	err := command.Run()
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != workers.ExitBroken {
		t.Errorf("it ended with %v", err)
	}
	if text := said.String(); !strings.Contains(text, "detect: the model does not work here") && !strings.Contains(text, "depth: the model does not work here") {
		t.Errorf("it said\n%s", text)
	}
}
