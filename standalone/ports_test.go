package standalone

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What only prints or draws opens no port: another user of the machine would read the pictures there.
func TestCommandsOpenNoPort(t *testing.T) {
	t.Parallel()
	detect, depth := noCost(t)
	folder := pictures(t, 400)
	listed, err := filepath.Glob(filepath.Join(folder, "*.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	models := []string{"--detect-model", detect, "--depth-model", depth, "--depth-size", "56"}
	for name, arguments := range map[string][]string{
		"watch":   {"watch", folder, "--json"},
		"predict": append([]string{"predict", "--json"}, listed...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, said := program(t, append(arguments, models...)...)
			command.Stdout = nil
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			scenes := bufio.NewScanner(out)
			scenes.Buffer(nil, 1<<20)
			n := 0
			for ; scenes.Scan(); n++ {
				if n == 0 { // everything runs
					if ports := listens(t, command.Process.Pid); len(ports) > 0 {
						t.Errorf("it listens on %v", ports)
					}
				}
			}
			if err := command.Wait(); err != nil || n != len(listed) {
				t.Errorf("%d scenes of %d, %v: %s", n, len(listed), err, said)
			}
		})
	}
}

// listens is the TCP addresses, as /proc/net/tcp writes them, on which a process listens.
func listens(t *testing.T, pid int) (addresses []string) {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	descriptors, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	sockets := map[string]bool{}
	for _, d := range descriptors {
		if to, err := os.Readlink(filepath.Join(proc, "fd", d.Name())); err == nil && strings.HasPrefix(to, "socket:[") {
			sockets[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(filepath.Join(proc, "net", table))
		if os.IsNotExist(err) { // no IPv6 here
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if fields := strings.Fields(line); len(fields) > 9 && fields[3] == "0A" && sockets[fields[9]] {
				addresses = append(addresses, fields[1])
			}
		}
	}
	return addresses
}
