// Command fuser is the service that joins results into scenes.
package main

import (
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser"
)

func main() {
	service.Main("fuser", "Joins the results of all groups into scenes, by frame ID.", fuser.Run)
}
