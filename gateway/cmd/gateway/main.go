// Command gateway is the service that shows scenes to viewers and programs.
package main

import (
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway"
)

func main() {
	service.Main("gateway", "Shows scenes to browsers and programs, and answers POST /predict.", gateway.Run)
}
