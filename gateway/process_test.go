package gateway_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// asProgram, set in the environment, makes the test's program the gateway's.
const asProgram = "SPATIALFLOW_GATEWAY_PROGRAM"

// program runs the gateway as a process of its own, at the host's address, until the test's end.
func (b bench) program(t *testing.T, host string, arguments ...string) (*runner, *os.Process) {
	t.Helper()
	address := net.JoinHostPort(host, strconv.Itoa(porttest.Port(t)))
	command := exec.Command(os.Args[0], append([]string{"--nats=" + b.server.URL(), "--http=" + address, "--admin=", "--anonymous=view,predict"}, arguments...)...)
	command.Env = append(os.Environ(), asProgram+"=1")
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	r := &runner{t: t, address: address, metrics: prometheus.NewRegistry()}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM) // fails when it has ended
		if err := <-ended; err != nil {
			t.Errorf("%v: %v: %s", command.Args, err, output.String())
		}
	})
	r.eventually("answer of the gateway", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return r, command.Process
}

// otherAddress is an address of this machine that is not the loopback one.
func otherAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but the loopback one: that a gateway off it refuses other names can't be tried (ip link add dummy0 type dummy; ip address add 192.0.2.1/32 dev dummy0)")
	return ""
}

// A page whose name was made to resolve to the gateway (DNS rebinding) reads nothing, wherever the gateway listens.
func TestRebinding(t *testing.T) {
	t.Parallel()
	b := newBenchAt(t, "127.0.0.1:0")
	b.provision(t)
	for _, host := range []string{otherAddress(t), "127.0.0.1"} {
		r, _ := b.program(t, host, "--hosts=viewer.example.org")
		_, port, _ := net.SplitHostPort(r.address)
		for name, allowed := range map[string]bool{"evil.example:" + port: false, "viewer.example.org": true, r.address: true} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			conn, answer, err := websocket.Dial(ctx, "ws://"+r.address+"/ws", &websocket.DialOptions{Host: name, HTTPHeader: http.Header{"Origin": {"http://" + name}}})
			cancel()
			if conn != nil {
				conn.CloseNow()
			}
			if (err == nil) != allowed || answer == nil || !allowed && answer.StatusCode != http.StatusForbidden {
				t.Errorf("gateway on %s, called %s by a page of that name: %v", r.address, name, err)
			}
			if code, body := r.ask(http.MethodGet, "/api/v1/sources", name, ""); (code == http.StatusOK) != allowed {
				t.Errorf("gateway on %s, called %s: %d %s", r.address, name, code, body)
			}
		}
	}
}
