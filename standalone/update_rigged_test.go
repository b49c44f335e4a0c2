//go:build long && rigged

package standalone

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// newerServices is a folder with the services as a program that is a version of messages ahead.
var newerServices = sync.OnceValues(func() (folder string, err error) {
	folder = filepath.Join(fixtures, "newer")
	tags := os.Getenv("TAGS") + ",rigged,newer" // make sets it, with what cgo needs to know
	packages := []string{"./flow/cmd/provision", "./producer/cmd/producer", "./workers/cmd/worker", "./fuser/cmd/fuser"}
	build := exec.Command("go", append([]string{"build", "-tags", tags, "-o", folder + "/"}, packages...)...)
	build.Dir = ".."
	return folder, output(build)
})

// newer makes a process be the service of the newer version when it runs the next time; older undoes that.
func (f *fleet) newer(p *process) (older func()) {
	f.t.Helper()
	program, before := filepath.Join(fixture(f.t, newerServices), p.name), p.start
	p.start = func() *exec.Cmd {
		command := before()
		command.Path = program
		command.Args[0] = program
		return command
	}
	return func() { p.start = before }
}

// All services are replaced, one after the other, by those of a version whose messages the others do not know. Those are
// written only once everybody reads them; what an old worker then can't read waits for one that can.
func TestRollingUpdateToANewerVersion(t *testing.T) {
	const frames = 900
	f := newFleet(t, 1)
	producer := f.film(frames)
	f.reaches(20)
	worker := f.services[1]
	var older func()
	for _, p := range append(slices.Clone(f.services), producer) {
		before := f.scenes.len()
		back := f.newer(p)
		if p == worker {
			older = back
		}
		p.kill()
		p.run()
		f.reaches(before + 20)
	}
	eventually(t, "the newer version is written", func() bool {
		d, _, err := f.bus.Deployment(t.Context())
		return err == nil && d.Wire == flow.Wire+1
	})
	f.reaches(f.scenes.len() + 20)

	newer := worker.start
	older()
	worker.kill()
	worker.run()
	eventually(t, "the old worker says that it can't read frames", func() bool { return f.notes.Load() > 0 })
	worker.kill()
	worker.start = newer
	worker.run()
	f.completes(producer)
	f.wantExact(frames)
}

// foreign answers the frames of a group that Spatial-Flow does not know.
func (f *fleet) foreign(group string) (stop func()) {
	f.t.Helper()
	b := f.nats.Connect(f.t, group)
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	for _, mode := range flow.Modes {
		tasks.Go(func() {
			open := func(ctx context.Context) (bus.Messages, error) { return b.TakeFrames(ctx, group, mode, 8) }
			_ = bus.Follow(ctx, quiet, open, func(msg jetstream.Msg) {
				frame := new(flow.Frame)
				if err := flow.Decode(msg.Data(), frame); err != nil {
					f.t.Error(err)
					return
				}
				size, err := msgpack.Marshal(len(frame.Picture))
				if err != nil {
					f.t.Error(err)
					return
				}
				result := &flow.Result{
					Version: frame.Version, Partition: frame.Partition, Copy: frame.Copy, Group: group, Source: frame.Source, Session: frame.Session,
					Seq: frame.Seq, Mode: frame.Mode, Captured: frame.Captured, Width: frame.Width, Height: frame.Height, Plan: frame.Plan,
					Budget: frame.Budget, Answers: map[string]msgpack.RawMessage{"bytes": size}, Ledger: append(frame.Ledger, flow.Hop{Stage: group}),
				}
				if b.PublishResult(ctx, result) == nil {
					_ = b.PublishDone(group, frame.Source, flow.Done{Version: frame.Version, Session: frame.Session, Seq: frame.Seq, Outcome: flow.OutcomeComplete})
					_ = msg.Ack()
				}
			})
		})
	}
	tasks.Go(func() {
		for ctx.Err() == nil {
			_ = b.PublishAlive(flow.Alive{Stage: group, Instance: "foreign", Host: "test", Parallel: 8, Wire: flow.Wire})
			time.Sleep(time.Second)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); tasks.Wait() })
	f.t.Cleanup(stop)
	return stop
}

// groups provisions the groups that Spatial-Flow brings along, and others.
func (f *fleet) groups(others ...flow.Group) {
	f.t.Helper()
	data, err := json.Marshal(append(flow.DefaultGroups(), others...))
	if err != nil {
		f.t.Fatal(err)
	}
	path := filepath.Join(f.t.TempDir(), "groups.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.provision("--groups-file", path)
}

// Partitions grow, and a third group is added, as a shadow, then required, then retired, while a film and a camera run:
// each frame of the film has one scene, and the camera goes on.
func TestDeploymentChangesWhileSourcesRun(t *testing.T) {
	const frames = 900
	f := newFleet(t, 1, "--partitions", "4")
	var mu sync.Mutex
	var last time.Time
	var gap time.Duration
	answered := 0
	sub, err := f.bus.Conn().Subscribe("scenes.*.>", func(msg *nats.Msg) {
		scene := new(flow.Scene)
		if err := flow.Decode(msg.Data, scene); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if scene.Answers["pose"] != nil {
			answered++
		}
		if now := time.Now(); scene.Mode == flow.ModeLive {
			if !last.IsZero() {
				gap = max(gap, now.Sub(last))
			}
			last = now
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	f.service("producer", "--source", "cam=street:?seed=3&fps=5&size=320x180#mode=live")
	producer := f.film(frames)
	f.reaches(30)
	step := func(what string, change func()) {
		t.Helper()
		mu.Lock()
		gap = 0
		mu.Unlock()
		before := f.scenes.len()
		change()
		f.reaches(before + 60)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("%-40s longest time without a live scene %v, %d scenes with answers", what, gap, answered)
		if gap > 2*time.Second {
			t.Errorf("%s: %v without a live scene", what, gap)
		}
	}
	pose := flow.Group{Name: "pose", Slot: 3, Task: flow.TaskOther}
	step("nothing changes", func() {})
	step("partitions grow", func() { f.provision("--partitions", "16") })
	pose.Need = flow.NeedShadow
	step("a shadow without a worker", func() { f.groups(pose) })
	stop := f.foreign("pose")
	step("a shadow with a worker", func() {})
	pose.Need = flow.NeedOptional
	step("an optional group", func() { f.groups(pose) })
	pose.Need = flow.NeedRequired
	step("a required group", func() { f.groups(pose) })
	mu.Lock()
	if answered == 0 {
		t.Error("no scene has what the group answered")
	}
	mu.Unlock()
	pose.Off, pose.Retired = true, true
	step("a retired group", func() { f.groups(pose) })
	stop()
	f.completes(producer)
	f.wantExact(frames)
	eventually(t, "what the group had is gone", func() bool {
		_, err := f.bus.JetStream().Stream(t.Context(), "RESULTS_POSE_LOSSLESS")
		return err != nil
	})
}
