// Command smoke tries a deployment as its users would.
package main

import (
	"os"

	"github.com/spatial-flow/spatial-flow/gateway/smoke"
)

func main() { smoke.Main(os.Args[1:]) }
