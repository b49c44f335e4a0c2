// Command nats-config prints the configuration of a nats-server, with a role for every service.
package main

import "github.com/spatial-flow/spatial-flow/flow/natsconfig"

func main() { natsconfig.Main() }
