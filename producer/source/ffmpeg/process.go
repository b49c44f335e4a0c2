package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// grace is how long a process that was killed may take to be gone: it is one in an uninterruptible wait that takes longer.
const grace = 5 * time.Second

// process is one run of a program of FFmpeg's. It is killed when its context ends, and when this process does, however that
// ends; so is what it has started.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it is gone
	err  error         // of its end, once done is closed
}

// start starts a program that reads, writes and complains as given; nil is nothing. [ErrNoProgram] is returned when it is not
// installed. The files given are the caller's: it closes its copies.
func start(ctx context.Context, name string, args []string, stdin, stdout, stderr *os.File) (*process, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	p := &process{name: name, cmd: exec.CommandContext(ctx, path, args...), done: make(chan struct{})}
	p.cmd.Env = environment()
	p.cmd.Dir = "/" // so that no file is found beside the one that is meant
	p.cmd.WaitDelay = grace
	p.cmd.Cancel = p.kill
	setFile := func(to func(*os.File), f *os.File) {
		if f != nil {
			to(f)
		}
	}
	setFile(func(f *os.File) { p.cmd.Stdin = f }, stdin)
	setFile(func(f *os.File) { p.cmd.Stdout = f }, stdout)
	setFile(func(f *os.File) { p.cmd.Stderr = f }, stderr)
	// A group of its own, so that Ctrl-C in a terminal does not reach it before us. It gets SIGKILL when the thread that
	// started it ends, so that thread is kept until the process is gone: it waits for it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// kill kills the process and what it has started.
func (p *process) kill() error {
	err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// stop kills the process, unless it is gone, and waits until it is.
func (p *process) stop() {
	select {
	case <-p.done:
	default:
		_ = p.kill() // it is gone by itself
		<-p.done
	}
}

// kept are the variables that programs of FFmpeg's need: to be found, and to find a GPU.
var kept = []string{"PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR"}

// keptPrefixes begin the names of further ones.
var keptPrefixes = []string{"CUDA_", "NVIDIA_", "LIBVA_", "VDPAU_", "ONEVPL_", "MFX_"}

// environment is what they get of ours: a producer's holds secrets.
func environment() []string {
	env := []string{"LC_ALL=C", "AV_LOG_FORCE_NOCOLOR=1"}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		for _, keep := range kept {
			if name == keep {
				env = append(env, variable)
			}
		}
		for _, prefix := range keptPrefixes {
			if strings.HasPrefix(name, prefix) {
				env = append(env, variable)
			}
		}
	}
	return env
}
