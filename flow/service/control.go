package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Healthy is the command `healthy`: it asks a program that runs whether it is, for containers without a shell or curl.
type Healthy struct {
	URL     string        `arg:"" optional:"" help:"What to ask; without it: /readyz at --admin of this machine."`
	Admin   string        `default:"127.0.0.1:8001" help:"Admin address of the program that is asked."`
	TLSCert string        `name:"admin-tls-cert" placeholder:"FILE" help:"The certificate (PEM) that the admin address has: it is asked by https, and no other certificate is taken."`
	Timeout time.Duration `default:"3s" help:"How long the answer may take."`
}

// Ask returns [ErrUnhealthy] unless the answer is 200.
func (h Healthy) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	url := h.URL
	if url == "" {
		url = adminURL(h.Admin, h.TLSCert, "/readyz")
	}
	code, body, err := call(ctx, h.TLSCert, http.MethodGet, url)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnhealthy, err)
	case code != http.StatusOK:
		return fmt.Errorf("%w: %s answers %d: %s", ErrUnhealthy, url, code, body)
	}
	return nil
}

// Drain is the command `drain`: it stops a program of this machine as SIGTERM does, and waits until it has ended.
type Drain struct {
	URL     string        `arg:"" optional:"" help:"Where to; without it: /drain at --admin of this machine."`
	Admin   string        `default:"127.0.0.1:8001" help:"Admin address of the program that is stopped."`
	TLSCert string        `name:"admin-tls-cert" placeholder:"FILE" help:"The certificate (PEM) that the admin address has: it is asked by https, and no other certificate is taken."`
	Timeout time.Duration `default:"60s" help:"How long it may take to end."`
}

// Stop returns [ErrDrain] when the program can't be told, or still answers after the time-out.
func (d Drain) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	url := d.URL
	if url == "" {
		url = adminURL(d.Admin, d.TLSCert, "/drain")
	}
	code, body, err := call(ctx, d.TLSCert, http.MethodPost, url)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDrain, err)
	case code != http.StatusAccepted:
		return fmt.Errorf("%w: %s answers %d: %s", ErrDrain, url, code, body)
	}
	for err == nil && clock.Sleep(ctx, 100*time.Millisecond) { // the admin address is the last that ends
		_, _, err = call(ctx, d.TLSCert, http.MethodGet, strings.TrimSuffix(url, "/drain")+"/healthz")
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: it still runs after %v", ErrDrain, d.Timeout)
	}
	return nil
}

// adminURL is where an admin address, with a certificate or without, is reached from its own machine.
func adminURL(address, cert, path string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address + path // which is refused by name
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return telemetry.TLSFiles{Cert: cert}.Scheme() + "://" + net.JoinHostPort(host, port) + path
}

func call(ctx context.Context, cert, method, url string) (code int, body string, err error) {
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return 0, "", fmt.Errorf("%q is no http:// address", url)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, "", err
	}
	transport := &http.Transport{DisableKeepAlives: true} // an open connection would keep a draining program
	if cert != "" {
		if transport.TLSClientConfig, err = trust(cert); err != nil {
			return 0, "", err
		}
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return answer.StatusCode, strings.TrimSpace(string(data)), err
}

func isControl(argument string) bool { return argument == "healthy" || argument == "drain" }

// control runs `healthy` or `drain`.
func control(name string, arguments []string) {
	var cli struct {
		Versioned
		Healthy Healthy `cmd:"" help:"Exit with 0 when a program that runs is ready, else with 1."`
		Drain   Drain   `cmd:"" help:"Stop a program that runs, as SIGTERM does, once what it has in hand is finished."`
	}
	parser, err := Parser(name, "", &cli)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	chosen, err := parser.Parse(arguments)
	parser.FatalIfErrorf(err)
	ctx, stop := SignalContext()
	defer stop()
	if strings.HasPrefix(chosen.Command(), "healthy") {
		err = cli.Healthy.Ask(ctx)
	} else {
		err = cli.Drain.Stop(ctx)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
