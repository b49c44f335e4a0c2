package standalone

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// Every service is drained in the middle of a run, by `drain` and by SIGTERM: each ends with 0 by itself, after it has
// finished or given back what it had, and every frame has its scene, once.
func TestDrainEverywhere(t *testing.T) {
	t.Parallel()
	const frames = 90
	detect, depth := noCost(t)
	d := newDeployment(t)
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	d.provision()
	b := d.connect()
	type drained struct {
		*process
		program, admin string
	}
	start := func(program string, arguments ...string) *drained {
		admin := porttest.Address(t)
		return &drained{d.service(program, append(arguments, "--admin", admin)...), program, admin}
	}
	control := func(s *drained, command string) (string, error) {
		c := exec.Command(os.Args[0], command, "--admin", s.admin)
		c.Env = append(os.Environ(), asProgram+"="+s.program)
		output, err := c.CombinedOutput()
		return string(output), err
	}
	ready := func(s *drained) bool {
		answer, err := http.Get("http://" + s.admin + "/readyz")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}
	detector := start("worker", "--group", "detect", "--model", detect)
	depths := start("worker", "--group", "depth", "--model", depth, "--depth-size", "56")
	fuser, gateway := start("fuser"), start("gateway", "--http", "127.0.0.1:0")
	for _, s := range []*drained{detector, depths, fuser, gateway} {
		eventually(t, s.name+" is ready", func() bool { return ready(s) })
		if output, err := control(s, "healthy"); err != nil {
			t.Errorf("%s is ready and not healthy: %v\n%s", s.name, err, output)
		}
	}
	producer := d.service("producer", "--source", "cam1=street:?seed=7&fps=30&size=320x180#mode=lossless", "--frames", fmt.Sprint(frames), "--run", "drains", "--exit-when-done")

	ended := func(s *process, by string) {
		t.Helper()
		select {
		case err := <-s.ended:
			s.ended <- nil
			if err != nil {
				t.Errorf("%s, drained by %s, ended with %v", s.name, by, err)
			}
		case <-time.After(patience):
			t.Errorf("%s, drained by %s, never ends", s.name, by)
		}
	}
	seq := uint64(5)
	for _, s := range []*drained{detector, depths, fuser, gateway} {
		for _, by := range []string{"drain", "SIGTERM"} {
			position(t, b, "cam1", "drains", seq)
			seq += 5
			if by == "drain" {
				if output, err := control(s, "drain"); err != nil {
					t.Errorf("drain %s: %v\n%s", s.name, err, output)
				}
			} else if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			ended(s.process, by)
			if output, err := control(s, "healthy"); err == nil {
				t.Errorf("%s is healthy after its end: %s", s.name, output)
			}
			s.run()
			eventually(t, s.name+" is ready again", func() bool { return ready(s) })
		}
	}
	ended(producer, "its end")
	storedScenes(t, b, frames)
}

// smoke tries separate services as `helm test` does; with a group that has no worker it says what is wrong.
func TestSmoke(t *testing.T) {
	t.Parallel()
	detect, depth := noCost(t)
	d := newDeployment(t)
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	d.provision()
	http := porttest.Address(t)
	d.service("fuser")
	d.service("gateway", "--http", http)
	d.service("worker", "--group", "detect", "--model", detect)
	d.service("producer", "--ingest")
	try := func(timeout string) (string, error) {
		c := exec.Command(os.Args[0], "--nats", d.url, "--gateway", "http://"+http, "--timeout", timeout)
		c.Env = append(os.Environ(), asProgram+"=smoke")
		output, err := c.CombinedOutput()
		return string(output), err
	}
	eventually(t, "what fails without a worker of depth is told", func() bool { // the others may still be starting
		output, err := try("8s")
		if err == nil {
			t.Fatalf("without a worker of depth:\n%s", output)
		}
		return strings.Contains(output, "predict: ") && strings.Contains(output, "group depth has no worker")
	})
	d.service("worker", "--group", "depth", "--model", depth, "--depth-size", "56")
	for range 2 { // again and again, with the scene of the time before still shown
		output, err := try(patience.String())
		if err != nil || strings.Count(output, "ok  ") != 3 || !strings.Contains(output, "scene smoke/") {
			t.Errorf("%v\n%s", err, output)
		}
	}
}

// A run that is stopped before its end is not done: who runs it, as a Kubernetes Job, must start it again. Stopped by
// SIGTERM in the middle, and while NATS is away, it ends with 1; started again, it completes, with 0.
func TestStoppedRunIsNotDone(t *testing.T) {
	t.Parallel()
	const frames = 60
	detect, _ := noCost(t)
	d := newDeployment(t)
	arguments := []string{"--source", "cam1=street:?seed=7&fps=30&size=320x180#mode=lossless", "--frames", fmt.Sprint(frames), "--run", "stops", "--exit-when-done"}
	p := d.service("producer", arguments...)
	stop := func(when string) {
		t.Helper()
		if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-p.ended:
			p.ended <- nil
			if err == nil || p.command.ProcessState.ExitCode() != 1 || !strings.Contains(p.output.String(), "stopped before the end of its sources") {
				t.Errorf("stopped %s it ends with %v and says %s", when, err, p.output.String())
			}
		case <-time.After(patience):
			t.Fatalf("stopped %s it never ends", when)
		}
		p.run()
	}
	eventually(t, "it waits for NATS", func() bool { return strings.Contains(p.output.String(), "waiting for nats") })
	stop("while NATS was away")
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	eventually(t, "it waits for the deployment object", func() bool { return strings.Contains(p.output.String(), "waiting for the deployment object") })
	stop("before there were groups")
	if command, output := program(t, "provision", "--nats", d.url, "--off", "depth"); command.Run() != nil {
		t.Fatal(output)
	}
	d.service("fuser")
	d.service("worker", "--group", "detect", "--model", detect)
	b := d.connect()
	position(t, b, "cam1", "stops", 5)
	stop("in the middle")
	select {
	case err := <-p.ended:
		p.ended <- nil
		if err != nil {
			t.Errorf("the run ends with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the run never ends")
	}
	storedScenes(t, b, frames)
}
