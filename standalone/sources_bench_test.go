package standalone

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// BenchmarkLiveSources is what a scene costs with few live sources and with many: 16 producers with 1 and with 62 sources
// each, 100 pictures a second of 640x480 in all, and everything else in one process, with models of no cost.
func BenchmarkLiveSources(b *testing.B) {
	const producers, rate = 16, 100.
	for _, each := range []int{1, 62} {
		b.Run(fmt.Sprint(each*producers), func(b *testing.B) {
			for b.Loop() {
				manySources(b, producers, each, rate/float64(producers*each))
			}
			b.ReportMetric(0, "ns/op") // the CPU is what counts
		})
	}
}

func manySources(b *testing.B, producers, each int, fps float64) {
	detect, depth := noCost(b)
	folder, nats := pictures(b, 500), porttest.Address(b)
	begin := func(name string, arguments ...string) *exec.Cmd {
		command := exec.Command(os.Args[0], arguments...)
		command.Env = append(os.Environ(), asProgram+"="+name)
		if err := command.Start(); err != nil {
			b.Fatal(err)
		}
		return command
	}
	all := []*exec.Cmd{begin("spatialflow", "up", "--http", "127.0.0.1:0", "--admin", "", "--nats-listen", nats,
		"--detect-model", detect, "--depth-model", depth, "--depth-size", "252")}
	var admins []string
	for p := range producers {
		var lines strings.Builder
		for s := range each {
			fmt.Fprintf(&lines, "p%ds%d=%s#mode=live&loop=true&fps=%g\n", p, s, folder, fps)
		}
		file := filepath.Join(b.TempDir(), "sources")
		if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		admins = append(admins, porttest.Address(b))
		all = append(all, begin("producer", "--nats", "nats://"+nats, "--admin", admins[p], "--source-file", file))
	}
	defer func() {
		for i := range all {
			command := all[len(all)-1-i]
			_ = command.Process.Signal(os.Interrupt)
			_ = command.Wait()
		}
	}()
	complete := regexp.MustCompile(`(?m)^spatialflow_frames_total\{outcome="complete".*\} (\S+)$`)
	now := func() (cpu, scenes float64) {
		for _, command := range all {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", command.Process.Pid))
			if err != nil {
				b.Fatal(err)
			}
			fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
			cpu += number(b, fields[12]) + number(b, fields[13]) // utime and stime in hundredths of a second: proc(5)
		}
		for _, admin := range admins {
			text, err := get("http://" + admin + "/metrics")
			if err != nil {
				b.Fatal(err)
			}
			for _, found := range complete.FindAllStringSubmatch(text, -1) {
				scenes += number(b, found[1])
			}
		}
		return cpu / 100, scenes
	}
	time.Sleep(20 * time.Second) // until all play
	cpuBefore, before := now()
	const during = 30 * time.Second
	time.Sleep(during)
	cpu, scenes := now()
	b.ReportMetric((cpu-cpuBefore)*1000/(scenes-before), "cpu-ms/scene")
	b.ReportMetric((scenes-before)/during.Seconds(), "scenes/s")
}
