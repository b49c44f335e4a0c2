// Command worker is the service that answers the frames of one group.
package main

import (
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/workers"
)

func main() {
	service.Main("worker", "Runs a group's model over every frame whose plan names the group.", workers.Run)
}
