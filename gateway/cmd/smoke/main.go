// Command smoke tries a deployment as its users would.
package main

import "github.com/spatial-flow/spatial-flow/gateway/smoke"

func main() { smoke.Main() }
