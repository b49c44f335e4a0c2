package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkVideoFrame reads and encodes one frame of 768x576.
func BenchmarkVideoFrame(b *testing.B) {
	root := os.Getenv("SPATIALFLOW_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(root, "data", "pedestrians.avi")
	if _, err := os.Stat(path); err != nil {
		fmt.Fprintf(os.Stderr, "\n*** %s NEEDS THE SHARED DATA: %v\n\n", b.Name(), err)
		return
	}
	open := func() Source {
		s, _, err := Open(Spec{path: path, Settings: Settings{Quality: 90}}, Options{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s := open()
	defer func() { _ = s.Close() }()
	var read, encode time.Duration
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		p, err := s.Next(b.Context())
		p.Finish()
		if errors.Is(err, io.EOF) {
			_ = s.Close()
			s = open()
			p, err = s.Next(b.Context())
			p.Finish()
		}
		if err != nil {
			b.Fatal(err)
		}
		read, encode, bytes = read+p.Read, encode+p.Encode, bytes+len(p.Data)
	}
	b.ReportMetric(float64(read.Nanoseconds())/float64(b.N), "read-ns/frame")
	b.ReportMetric(float64(encode.Nanoseconds())/float64(b.N), "encode-ns/frame")
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/frame")
}
