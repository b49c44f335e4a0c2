package standalone

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// BenchmarkPipeline is the whole path with models of no cost on frames of 768x576, in a process of its own: frames per
// second, CPU and time per frame and step, memory, and the time to the first scene.
func BenchmarkPipeline(b *testing.B) {
	detect, depth := noCost(b)
	source := filepath.Join("..", "..", "shared", "data", "pedestrians.avi")
	if _, err := os.Stat(source); err != nil {
		source = bitmaps(b, 400)
	}
	b.Run(filepath.Base(source), func(b *testing.B) {
		for b.Loop() {
			measure(b, "--source", source, "--detect-model", detect, "--depth-model", depth, "--depth-size", "252")
		}
		b.ReportMetric(0, "ns/op") // the rates are what counts
	})
}

// measure runs spatialflow until its source is done, and reports what it took.
func measure(b *testing.B, arguments ...string) {
	b.Helper()
	admin := porttest.Address(b)
	command := exec.Command(os.Args[0], append([]string{"up", "--http", "127.0.0.1:0", "--admin", admin}, arguments...)...)
	command.Env = append(os.Environ(), asProgram+"=1")
	progress, err := command.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	summary, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	first := time.Duration(0)
	fused := regexp.MustCompile(`spatialflow_stage_seconds_count\{.*stage="fuser",step="publish"\} [1-9]`)
	for first == 0 && time.Since(begin) < time.Minute {
		if text, err := get("http://" + admin + "/metrics"); err == nil && fused.MatchString(text) {
			first = time.Since(begin)
		}
		time.Sleep(5 * time.Millisecond)
	}
	loaded := make(chan int, 1)
	go func() {
		time.Sleep(2 * time.Second)
		loaded <- pss(command.Process.Pid)
	}()
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "every source is done") {
			break
		}
	}
	metrics, err := get("http://" + admin + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	go io.Copy(io.Discard, progress)
	command.Process.Signal(os.Interrupt)
	table, err := io.ReadAll(summary)
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		b.Fatalf("%v\n%s", err, table)
	}
	fields := strings.Fields(strings.Split(string(table), "\n")[1])
	frames, rate, p50 := number(b, fields[5]), number(b, fields[len(fields)-4]), fields[len(fields)-3]
	latency, err := time.ParseDuration(p50)
	if err != nil {
		b.Fatal(err)
	}
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	b.ReportMetric(rate, "frames/s")
	b.ReportMetric(latency.Seconds()*1000, "p50-ms")
	b.ReportMetric(cpu.Seconds()*1000/frames, "cpu-ms/frame")
	b.ReportMetric(first.Seconds(), "first-scene-s")
	b.ReportMetric(float64(<-loaded), "loaded-PSS-MiB")
	b.ReportMetric(sample(b, metrics, "go_memstats_mallocs_total")/frames, "mallocs/frame")
	b.Logf("time per frame and step, as the clock saw it:\n%s", steps(metrics, frames))
}

// BenchmarkIdle is the memory of a pipeline whose source, one picture, is done.
func BenchmarkIdle(b *testing.B) {
	detect, depth := noCost(b)
	folder := pictures(b, 1)
	for b.Loop() {
		command := exec.Command(os.Args[0], "up", "--http", "127.0.0.1:0", "--admin", "", "--source", folder, "--detect-model", detect, "--depth-model", depth)
		command.Env = append(os.Environ(), asProgram+"=1")
		progress, err := command.StderrPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := command.Start(); err != nil {
			b.Fatal(err)
		}
		for lines := bufio.NewScanner(progress); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "every source is done") {
				break
			}
		}
		time.Sleep(time.Second)
		b.ReportMetric(float64(pss(command.Process.Pid)), "idle-PSS-MiB")
		command.Process.Signal(os.Interrupt)
		io.Copy(io.Discard, progress)
		if err := command.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func get(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// pss is a process's proportional set size in MiB; 0 where the system does not tell.
func pss(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	found := regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	kib, _ := strconv.Atoi(string(found[1]))
	return kib / 1024
}

func number(b *testing.B, text string) float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.Fatal(err)
	}
	return value
}

func sample(b *testing.B, metrics, name string) float64 {
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if found == nil {
		b.Fatalf("no %s", name)
	}
	return number(b, found[1])
}

// steps lists the mean of every step of every stage in milliseconds.
func steps(metrics string, frames float64) string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^spatialflow_stage_seconds_sum\{.*stage="(\w+)",step="(\w+)"\} (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		seconds, _ := strconv.ParseFloat(m[3], 64)
		out = append(out, fmt.Sprintf("%-9s %-12s %7.3f ms", m[1], m[2], seconds*1000/frames))
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// bitmaps makes a folder of n pictures of 768x576 that are decoded and encoded once, as video is.
func bitmaps(b *testing.B, n int) string {
	const width, height = 768, 576
	folder := b.TempDir()
	header := make([]byte, 54) // BITMAPFILEHEADER and BITMAPINFOHEADER
	copy(header, "BM")
	binary.LittleEndian.PutUint32(header[2:], 54+3*width*height)
	binary.LittleEndian.PutUint32(header[10:], 54)
	binary.LittleEndian.PutUint32(header[14:], 40)
	binary.LittleEndian.PutUint32(header[18:], width)
	binary.LittleEndian.PutUint32(header[22:], height)
	binary.LittleEndian.PutUint16(header[26:], 1)
	binary.LittleEndian.PutUint16(header[28:], 24)
	noise := rand.New(rand.NewPCG(1, 1))
	pixels := make([]byte, 3*width*height)
	for i := range pixels {
		pixels[i] = byte(i/3%width/4 + i/3/width/8 + noise.IntN(24))
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%05d.bmp", i)), append(header, pixels...), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return folder
}
