//go:build !linux

package socket

import "net"

// limitUnsent does nothing here: what is written waits in the kernel.
func limitUnsent(*net.TCPConn, int) {}
