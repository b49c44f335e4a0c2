package workers

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// sleeper is a device that takes some time for each frame, one after the other, without using the CPU.
type sleeper struct {
	device
	takes time.Duration

	mu   sync.Mutex
	busy time.Duration
}

func (s *sleeper) Run(ctx context.Context, in tensors) ([]float32, []int64, error) {
	s.mu.Lock()
	began := time.Now()
	time.Sleep(s.takes)
	s.busy += time.Since(began)
	s.mu.Unlock()
	return s.device.Run(ctx, in)
}

func (s *sleeper) spent() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}

// BenchmarkBusy is the share of the time that a worker keeps a device at work which computes nothing: a GPU. Pictures are decoded
// and made ready for a detector by the CPUs of this process, where NATS and whoever publishes work too.
func BenchmarkBusy(b *testing.B) {
	for _, size := range [][2]int{{1920, 1080}, {640, 360}} {
		for _, takes := range []time.Duration{25 * time.Millisecond, 5 * time.Millisecond} {
			b.Run(fmt.Sprintf("%dx%d/%v", size[0], size[1], takes), func(b *testing.B) { benchmarkBusy(b, size[0], size[1], takes) })
		}
	}
}

func benchmarkBusy(b *testing.B, width, height int, takes time.Duration) {
	at := newBench(b)
	session := openedNoCost(b)
	var cfg Config
	if err := service.Defaults(&cfg); err != nil {
		b.Fatal(err)
	}
	model, err := detect.Open(session.Graph, detect.Settings{Confidence: cfg.Confidence, IoU: cfg.IoU, Most: cfg.MaxDet, Size: cfg.DetectSize})
	if err != nil {
		b.Fatal(err)
	}
	own, err := at.server.Connect(cfg.Group, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer own.Close()
	device := &sleeper{device: rigged(sessionDevice(session)), takes: takes}
	w := newWorker(cfg, service.Env{Bus: own, Log: quiet, Metrics: prometheus.NewRegistry(), Health: new(telemetry.Health)}, model, device, placement{provider: "cpu"})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	const window = 32
	room, done := make(chan struct{}, window), make(chan struct{}, 1<<16)
	for range window {
		room <- struct{}{}
	}
	if _, err := at.bus.SubscribeDone(cfg.Group, "cam1", func(string, flow.Done) { room <- struct{}{}; done <- struct{}{} }); err != nil {
		b.Fatal(err)
	}
	frame := frameOf(b, 0, good)
	frame.Width, frame.Height, frame.Picture = width, height, noisy(b, width, height)
	var stop atomic.Bool
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer stop.Store(true)
	publishing.Go(func() {
		for seq := uint64(1); !stop.Load(); seq++ {
			select {
			case <-room:
			case <-time.After(time.Second):
				continue
			}
			f := *frame
			f.Seq = seq
			at.publish(b, &f)
		}
	})
	for range 2 * window { // it has found its pace
		<-done
	}
	b.ResetTimer()
	began, busy, used := time.Now(), device.spent(), cpu(b)
	frames := 0
	for b.Loop() {
		<-done
		frames++
	}
	elapsed, each := time.Since(began), (cpu(b)-used)/time.Duration(frames)
	share := float64(device.spent()-busy) / float64(elapsed)
	b.ReportMetric(share, "busy")
	b.ReportMetric(share/min(1, 2*takes.Seconds()/each.Seconds()), "of-what-CPUs-allow")
	b.ReportMetric(each.Seconds()*1000, "cpu-ms/frame")
}

func sessionDevice(s *engine.Session) device { return model.On(s) }

func openedNoCost(b *testing.B) *engine.Session {
	s, err := engine.Open(engine.File{Name: "nocost_detect.onnx", Data: models.NoCostDetect}, engine.Options{Provider: "cpu", Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// noisy is a JPEG as of a camera.
func noisy(b *testing.B, width, height int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	noise := uint32(1)
	for i := range width * height {
		noise = noise*1664525 + 1013904223
		m.SetRGBA(i%width, i/width, color.RGBA{uint8(i % width / 3), uint8(i / width / 3), uint8(noise >> 28), 255})
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, m, &jpeg.Options{Quality: 85}); err != nil {
		b.Fatal(err)
	}
	return data.Bytes()
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
