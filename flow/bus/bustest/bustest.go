// Package bustest is what tests of several modules need of the bus without a server.
package bustest

import (
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// Deployed is a deployment object that nobody changes but the test, by [bus.Deployed.Set].
func Deployed(d flow.Deployment) *bus.Deployed {
	deployed := new(bus.Deployed)
	deployed.Set(d)
	return deployed
}
