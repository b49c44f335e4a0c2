package porttest_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

const asProcess = "PORTTEST_PROCESS"

// Ports are given once, by processes that run at the same time.
func TestPortsAreGivenOnce(t *testing.T) {
	const each = 250
	if os.Getenv(asProcess) != "" {
		for range each {
			fmt.Println("port", porttest.Address(t))
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the test has seen them
		return
	}
	var mu sync.Mutex
	given := map[string]int{}
	var processes sync.WaitGroup
	for range 4 {
		child := exec.Command(os.Args[0], "-test.run=TestPortsAreGivenOnce")
		child.Env = append(os.Environ(), asProcess+"=1")
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { stdin.Close(); _ = child.Wait() }()
		processes.Go(func() {
			lines := bufio.NewScanner(stdout)
			for n := 0; n < each && lines.Scan(); n++ {
				var address string
				if _, err := fmt.Sscanf(lines.Text(), "port %s", &address); err != nil {
					t.Errorf("%q: %v", lines.Text(), err)
				}
				if _, _, err := net.SplitHostPort(address); err != nil {
					t.Error(err)
				}
				mu.Lock()
				given[address]++
				mu.Unlock()
			}
		})
	}
	processes.Wait()
	if len(given) != 4*each {
		t.Errorf("%d different addresses of %d", len(given), 4*each)
	}
}
