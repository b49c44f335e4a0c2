// Command provision makes what the services need on a NATS server.
package main

import "github.com/spatial-flow/spatial-flow/flow/provision"

func main() { provision.Main() }
