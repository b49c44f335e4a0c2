// Package natstest starts NATS servers with JetStream for tests, one or a cluster of three: each is a process of its own
// with its folder and its ports, which can be killed with -9, held still, lose what it has not yet on its disk, and be
// started again in its place.
//
// The processes are the test binary itself, so a package that uses this one begins its TestMain with [Main]:
//
//	func TestMain(m *testing.M) { natstest.Main(); goleak.VerifyTestMain(m) }
package natstest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// asServer holds, as JSON, the settings of the server that a process is.
const asServer = "SPATIALFLOW_NATSTEST_SERVER"

// settings of one server, from the test to the process.
type settings struct {
	Name                   string
	Folder                 string
	Client, Route, Monitor int // ports
	Routes                 []int
	MaxPayload             int32 // bytes
}

// Main never returns in a process that was started to be a server, and at once in any other. It goes first in TestMain.
func Main() {
	text, ok := os.LookupEnv(asServer)
	if !ok {
		return
	}
	var s settings
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.serve()
	}
	fmt.Fprintf(os.Stderr, "nats server %s: %v\n", s.Name, err)
	os.Exit(1)
}

// serve runs the server until the test that started it is gone, of which standard input's end tells.
func (s settings) serve() error {
	options := &server.Options{
		ServerName: s.Name,
		Host:       host, Port: s.Client,
		HTTPHost: host, HTTPPort: s.Monitor,
		JetStream: true, StoreDir: s.Folder,
		JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 20 << 30, // bytes
		MaxPayload: s.MaxPayload,
		// As the deployment has it: a peer that is held still is given up after two unanswered pings.
		PingInterval: 15 * time.Second, WriteDeadline: 5 * time.Second,
		NoSigs: true, DisableJetStreamBanner: true,
	}
	if len(s.Routes) > 0 {
		options.Cluster = server.ClusterOpts{Name: "natstest", Host: host, Port: s.Route, PoolSize: -1}
		for _, port := range s.Routes {
			options.Routes = append(options.Routes, &url.URL{Scheme: "nats-route", Host: address(port)})
		}
	}
	node, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	node.ConfigureLogger()
	go node.Start()
	_, err = io.Copy(io.Discard, os.Stdin)
	return fmt.Errorf("the test has ended: %w", err)
}
