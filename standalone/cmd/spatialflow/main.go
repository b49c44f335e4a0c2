// Command spatialflow runs the whole pipeline in one process.
package main

import (
	"os"

	"github.com/spatial-flow/spatial-flow/standalone"
)

func main() { standalone.Main(os.Args[1:]) }
