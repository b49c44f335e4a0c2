//go:build long && rigged

package standalone

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// Live admission does not depend on what clocks say of each other: with one clock off, before others or behind, with one that
// is set while frames are under way, and after a server that stood still, a source has at least 0.9 of the frames that it had
// before, 5 s later. All processes are real ones, whose stamps are shifted; their work is sleep.
func TestLiveWithClocksThatDisagree(t *testing.T) {
	for _, work := range []time.Duration{8 * time.Millisecond, 50 * time.Millisecond} {
		for _, producers := range []int{1, 2, 10} {
			t.Run(fmt.Sprintf("%v of work, %d producers", work, producers), func(t *testing.T) {
				c := newClocks(t, work, producers)
				healthy := c.rate(t, "")
				t.Logf("%-40s %5.1f scenes/s", "clocks agree", healthy)
				check := func(what string, rate float64) {
					t.Helper()
					t.Logf("%-40s %5.1f scenes/s, %.2f of it", what, rate, rate/healthy)
					if rate < 0.9*healthy {
						t.Errorf("%s: %.1f scenes/s, %.2f of the %.1f with clocks that agree, want 0.9", what, rate, rate/healthy, healthy)
					}
				}
				for _, off := range []string{"5ms", "-5ms", "500ms", "-500ms", "600ms@5s", "-600ms@5s"} {
					check("worker's clock off by "+off, c.rate(t, off))
				}
				if err := c.d.nats.command.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				clock.Sleep(t.Context(), 4*time.Second)
				if err := c.d.nats.command.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				check("server stood still for 4s", c.measure(t))
			})
		}
	}
}

// clocks is a deployment of the group detect, whose one worker has two slots, with a camera of 100 pictures a second.
type clocks struct {
	d      *deployment
	work   time.Duration
	worker *process
	model  string
	scenes atomic.Int64
}

func newClocks(t *testing.T, work time.Duration, producers int) *clocks {
	t.Helper()
	c := &clocks{d: newDeployment(t), work: work}
	c.model, _ = noCost(t)
	c.d.startNATS()
	eventually(t, "the server listens", c.d.listens)
	command, said := program(t, "provision", "--nats", c.d.url, "--off", "depth")
	if err := command.Run(); err != nil {
		t.Fatalf("provision: %v\n%s", err, said)
	}
	c.d.service("fuser")
	c.d.service("producer", "--source", "cam="+manyPictures(t, 12000)+"#mode=live&fps=100&loop=true")
	for i := range producers - 1 {
		c.d.service("producer", "--source", fmt.Sprintf("film%d=%s", i, pictures(t, 1)))
	}
	b := c.d.connect()
	done, err := b.SubscribeDone("fuser", "cam", func(_ string, done flow.Done) {
		if done.Outcome != flow.OutcomeDropped {
			c.scenes.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = done.Unsubscribe() }) // before the connection is closed
	return c
}

// rate starts the worker anew, with a clock that is off by so much, and counts the scenes a second.
func (c *clocks) rate(t *testing.T, off string) float64 {
	t.Helper()
	if c.worker != nil {
		c.worker.kill()
	}
	c.worker = c.d.start("worker", func() *exec.Cmd {
		command := exec.Command(os.Args[0], "--nats", c.d.url, "--admin", "", "--group", "detect", "--model", c.model, "--parallel", "2", "--threads", "1")
		command.Env = append(os.Environ(), asProgram+"=worker", "SPATIALFLOW_RIG_CLOCK="+off, "SPATIALFLOW_RIG_WORK="+c.work.String())
		return command
	})
	before := c.scenes.Load()
	eventually(t, "the worker answers", func() bool { return c.scenes.Load() > before })
	return c.measure(t)
}

// measure counts the scenes of 5 s, beginning 5 s from now.
func (c *clocks) measure(t *testing.T) float64 {
	t.Helper()
	clock.Sleep(t.Context(), 5*time.Second)
	before, began := c.scenes.Load(), time.Now()
	clock.Sleep(t.Context(), 5*time.Second)
	return float64(c.scenes.Load()-before) / time.Since(began).Seconds()
}

// manyPictures is a folder of n names for one small picture.
func manyPictures(t *testing.T, n int) string {
	t.Helper()
	one := filepath.Join(pictures(t, 1), "00000.jpg")
	folder := filepath.Join(t.TempDir(), "many")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := os.Link(one, filepath.Join(folder, fmt.Sprintf("%05d.jpg", i))); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
