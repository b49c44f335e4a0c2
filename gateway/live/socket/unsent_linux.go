package socket

import (
	"net"
	"syscall"
)

// notSentLowAt is TCP_NOTSENT_LOWAT of tcp(7), which package syscall lacks.
const notSentLowAt = 25

// limitUnsent lets a write wait while so many bytes have not been sent yet. Where that can't be had, they wait in the kernel.
func limitUnsent(conn *net.TCPConn, bytes int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowAt, bytes) })
}
