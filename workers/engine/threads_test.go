package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// BenchmarkThreads is a picture's inference with pools of some threads, shared by some runs at once: what [engine.Options.Threads]
// is chosen by. The CPU time of a picture is told beside it, which says as much on a machine that others use. Beside the demo
// models it takes SPATIALFLOW_BENCH_MODEL, a file of fixed size.
func BenchmarkThreads(b *testing.B) {
	files := []engine.File{}
	for _, group := range []string{"detect", "depth"} {
		name, data := models.Demo(group)
		files = append(files, engine.File{Name: name, Data: data})
	}
	if path := os.Getenv("SPATIALFLOW_BENCH_MODEL"); path != "" {
		files = append(files, engine.File{Path: path})
	}
	cores := runtime.GOMAXPROCS(0)
	for _, file := range files {
		for threads := 1; threads <= cores; threads *= 2 {
			session, err := engine.Open(file, engine.Options{Provider: engine.CPU, Threads: threads})
			if err != nil {
				b.Fatal(err)
			}
			for runs := 1; runs <= 2*cores; runs *= 2 {
				b.Run(fmt.Sprintf("%s/threads=%d/runs=%d", filepath.Base(session.Name), threads, runs), func(b *testing.B) { benchmarkRuns(b, session, runs) })
			}
			if err := session.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// benchmarkRuns is b.N runs, so many at once.
func benchmarkRuns(b *testing.B, session *engine.Session, runs int) {
	before := spent(b)
	defer func() { b.ReportMetric((spent(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op") }()
	in := session.Inputs[0].Shape
	var left atomic.Int64
	left.Store(int64(b.N))
	ended := make(chan error, runs)
	for range runs {
		tensors, err := session.Tensors([4]int{1, int(in[1]), int(in[2]), int(in[3])})
		if err != nil {
			b.Fatal(err)
		}
		for i := range tensors.Input() {
			tensors.Input()[i] = float32(i%256) / 255
		}
		go func() {
			defer tensors.Release()
			for left.Add(-1) >= 0 {
				if _, _, err := session.Run(context.Background(), tensors); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for range runs {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

// spent is the CPU time of this process.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
