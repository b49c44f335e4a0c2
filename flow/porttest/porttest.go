// Package porttest gives tests ports of their own, for what listens later, or again, or in another process.
package porttest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Blocks of ports below those that the system gives to connections by itself (from 32768 on Linux).
const (
	first  = 10_000
	blocks = 200
	size   = 100
)

var (
	mu        sync.Mutex
	next, end int            // of the block that is being given
	claims    []net.Listener // on the first port of each block that is this process's
)

// Port is a port of 127.0.0.1 on which nothing listens. It is given once: no other call of this process gets it, nor of another one
// while this runs.
func Port(t testing.TB) int {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for {
		if next == end {
			claim(t)
		}
		port := next
		next++
		if l, err := net.Listen("tcp", address(port)); err == nil {
			l.Close()
			return port
		}
	}
}

// Address is 127.0.0.1 with a [Port].
func Address(t testing.TB) string {
	t.Helper()
	return address(Port(t))
}

// claim takes a block for this process.
func claim(t testing.TB) {
	t.Helper()
	var last error
	for range 10 * blocks {
		port := first + rand.IntN(blocks)*size
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			last = err
			continue
		}
		claims, next, end = append(claims, l), port+1, port+size
		return
	}
	t.Fatalf("no block of ports is free: %v", last)
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
