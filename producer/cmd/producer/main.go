// Command producer is the service that takes pictures from sources and publishes them as frames.
package main

import (
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer"
)

func main() {
	service.Main("producer", "Takes pictures from sources and publishes them as frames.", producer.Run)
}
