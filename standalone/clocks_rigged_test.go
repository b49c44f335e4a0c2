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
	offsets := []string{"5ms", "-5ms", "500ms", "-500ms", "600ms@5s", "-600ms@5s"}
	for _, work := range []time.Duration{8 * time.Millisecond, 50 * time.Millisecond} {
		for _, producers := range []int{1, 2, 10} {
			t.Run(fmt.Sprintf("%v of work, %d producers", work, producers), func(t *testing.T) {
				c := newClocks(t, work, producers)
				healthy := c.measure(t)
				t.Logf("%-40s %5.1f scenes/s", "clocks agree", healthy)
				check := func(what string) {
					t.Helper()
					rate := c.measure(t)
					t.Logf("%-40s %5.1f scenes/s, %.2f of it", what, rate, rate/healthy)
					if rate < 0.9*healthy {
						t.Errorf("%s: %.1f scenes/s, %.2f of the %.1f with clocks that agree, want 0.9", what, rate, rate/healthy, healthy)
					}
				}
				for _, name := range []string{"worker", "fuser", "producer"} {
					if name != "worker" && producers > 1 {
						continue
					}
					for _, off := range offsets {
						c.offset(t, name, off)
						check(fmt.Sprintf("clock of the %s off by %s", name, off))
					}
					c.offset(t, name, "")
				}
				check("clocks agree again")
				if err := c.d.nats.command.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				clock.Sleep(t.Context(), 4*time.Second)
				if err := c.d.nats.command.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				check("server stood still for 4s")
			})
		}
	}
}

// clocks is a deployment of the group detect, whose one worker has two slots, with a camera of 100 pictures a second.
type clocks struct {
	d        *deployment
	work     time.Duration
	services map[string]*process // whose clock can be off
	commands map[string][]string
	scenes   atomic.Int64
}

func newClocks(t *testing.T, work time.Duration, producers int) *clocks {
	t.Helper()
	detect, _ := noCost(t)
	c := &clocks{d: newDeployment(t), work: work, services: map[string]*process{}, commands: map[string][]string{
		"worker":   {"--group", "detect", "--model", detect, "--parallel", "2", "--threads", "1"},
		"fuser":    {},
		"producer": {"--source", "cam=" + manyPictures(t, 12000) + "#mode=live&fps=100&loop=true"},
	}}
	c.d.startNATS()
	eventually(t, "the server listens", c.d.listens)
	command, said := program(t, "provision", "--nats", c.d.url, "--off", "depth")
	if err := command.Run(); err != nil {
		t.Fatalf("provision: %v\n%s", err, said)
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
	for i := range producers - 1 {
		c.d.service("producer", "--source", fmt.Sprintf("film%d=%s", i, pictures(t, 1)))
	}
	for name := range c.commands {
		c.offset(t, name, "")
	}
	return c
}

// offset starts a service anew, with a clock that is off by so much, and waits until there are scenes again.
func (c *clocks) offset(t *testing.T, name, off string) {
	t.Helper()
	if before := c.services[name]; before != nil {
		before.kill()
	}
	c.services[name] = c.d.start(name, func() *exec.Cmd {
		command := exec.Command(os.Args[0], append([]string{"--nats", c.d.url, "--admin", ""}, c.commands[name]...)...)
		command.Env = append(os.Environ(), asProgram+"="+name, "SPATIALFLOW_RIG_CLOCK="+off, "SPATIALFLOW_RIG_WORK="+c.work.String())
		return command
	})
	if len(c.services) < len(c.commands) {
		return
	}
	before := c.scenes.Load()
	eventually(t, "there are scenes", func() bool { return c.scenes.Load() > before })
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
