package natsserver_test

import (
	"bufio"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// listening are the inodes of this process's listening TCP sockets.
func listening(t *testing.T) map[string]bool {
	t.Helper()
	own := map[string]bool{}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", d.Name())) // gone meanwhile: not listening
		if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	found := map[string]bool{}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		file, err := os.Open(table)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			fields := strings.Fields(lines.Text()) // 3: state, 0A is LISTEN; 9: inode
			if len(fields) > 9 && fields[3] == "0A" && own[fields[9]] {
				found[fields[9]] = true
			}
		}
		file.Close()
	}
	return found
}

func TestNothingListensOnTCP(t *testing.T) {
	s := start(t, t.TempDir())
	defer s.Stop()
	connect(t, s).Close()
	if sockets := listening(t); len(sockets) != 0 {
		t.Errorf("the embedded server listens on %d TCP sockets", len(sockets))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if sockets := listening(t); len(sockets) != 1 {
		t.Errorf("this test sees %d listening sockets, want its own", len(sockets))
	}
}
