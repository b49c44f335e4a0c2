//go:build long

package producer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/rtsp/rtsptest"
)

// 32 cameras of 1920x1080, of 15 pictures and one key frame a second, are more than two cores can decode: all go to key frames together,
// each gives as many pictures as the others, and two that must have every picture have it. It takes SPATIALFLOW_CAMERAS_FOR, else 5 minutes.
func TestManyCameras(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("SPATIALFLOW_CAMERAS_FOR"))
	if err != nil {
		length = 5 * time.Minute
	}
	const cameras, warm = 32, 30 * time.Second
	b := newBench(t)
	b.serve(t, &group{name: "detect", work: 5 * time.Millisecond}, &group{name: "depth", work: 20 * time.Millisecond})
	camera := rtsptest.New(t, rtsptest.Clip{Codec: "h264", FPS: 15, GOP: 15, Width: 1920, Height: 1080}.Encode(t, 45))
	camera.User, camera.Password = "admin", password
	camera.Start()
	var sources []string
	for i := range cameras {
		sources = append(sources, fmt.Sprintf("cam%d=%s", i, camera.URL()))
	}
	for i := range 2 {
		sources = append(sources, fmt.Sprintf("every%d=%s#decode=all", i, camera.URL()))
	}
	l := b.start(t, nil, sources...)
	time.Sleep(warm)
	captured := func() map[string]uint64 {
		n := map[string]uint64{}
		for _, s := range l.board.Statuses() {
			n[s.Source] = s.Account.Captured
		}
		return n
	}
	before, begin := captured(), time.Now()
	processes, threads, memory := decoders(t)
	time.Sleep(length)
	after, took := captured(), time.Since(begin).Seconds()
	processesAfter, threadsAfter, memoryAfter := decoders(t)
	least, most, sum := 1e9, 0.0, 0.0
	for i := range cameras {
		name := fmt.Sprint("cam", i)
		rate := float64(after[name]-before[name]) / took
		least, most, sum = min(least, rate), max(most, rate), sum+rate
	}
	t.Logf("pictures/s of %d cameras: %.2f on average, %.2f to %.2f", cameras, sum/cameras, least, most)
	for i := range 2 {
		name := fmt.Sprint("every", i)
		t.Logf("%s: %.2f pictures/s", name, float64(after[name]-before[name])/took)
	}
	t.Logf("decoders: %d processes of %d threads, %d MB; after %v %d of %d, %d MB", processes, threads, memory>>20, length, processesAfter, threadsAfter, memoryAfter>>20)
	notes := map[string]int{}
	for _, s := range l.board.Statuses() {
		notes[s.Reason]++
	}
	t.Logf("said: %v", notes)
	mean := sum / cameras
	if least < .8 || least < .85*mean || most > 1.15*mean {
		t.Errorf("%.2f to %.2f pictures/s, want at least 0.8, and ±15 %% of %.2f", least, most, mean)
	}
	if processesAfter != processes || processes != cameras+2 {
		t.Errorf("%d decoders at the beginning, %d at the end, want %d", processes, processesAfter, cameras+2)
	}
	l.stop()
	if n, _, _ := decoders(t); n > 0 {
		t.Errorf("%d decoders are left", n)
	}
}

// decoders counts the ffmpeg processes of this one, their threads, and the memory that they hold in bytes.
func decoders(t *testing.T) (processes, threads int, memory int64) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for pid := range strings.FieldsSeq(string(data)) {
			status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
			if err != nil {
				continue
			}
			processes++
			for line := range strings.Lines(string(status)) {
				fields := strings.Fields(line)
				if len(fields) < 2 {
					continue
				}
				n, _ := strconv.ParseInt(fields[1], 10, 64)
				switch fields[0] {
				case "Threads:":
					threads += int(n)
				case "VmRSS:":
					memory += n << 10
				}
			}
		}
	}
	return processes, threads, memory
}
