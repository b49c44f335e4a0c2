package depthmap

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"compress/zlib"
)

// deflate is what Go's own writer makes of data.
func deflate(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// samplesOf are kinds of data that differ in what deflate makes of them.
func samplesOf(random *rand.Rand, n int) map[string][]byte {
	noise, few, skew, runs := make([]byte, n), make([]byte, n), make([]byte, n), make([]byte, n)
	for i := range n {
		noise[i] = byte(random.Uint32())
		few[i] = byte(random.IntN(3))
		for skew[i] = 0; skew[i] < 40 && random.IntN(2) == 0; skew[i]++ { // codes longer than the table's
		}
		if runs[i] = byte(random.IntN(4)); i > 300 && random.IntN(8) > 0 {
			runs[i] = runs[i-1-random.IntN(3)]
		}
	}
	return map[string][]byte{"noise": noise, "few": few, "skew": skew, "runs": runs, "zeros": make([]byte, n)}
}

func TestInflate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var f inflater
	for _, n := range []int{0, 1, 2, 15, 16, 300, 5000, 200_000} {
		for kind, want := range samplesOf(random, n) {
			for _, level := range []int{zlib.HuffmanOnly, zlib.NoCompression, zlib.BestSpeed, 6, zlib.BestCompression} {
				packed := deflate(t, want, level)
				got := make([]byte, n)
				if err := f.inflate(got, packed); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes of %s, level %d: %v", n, kind, level, err)
				}
				if err := f.inflate(make([]byte, n+1), packed); !errors.Is(err, errTorn) {
					t.Errorf("%d bytes of %s, level %d, one more wanted: %v", n, kind, level, err)
				}
				if n == 0 {
					continue
				}
				if err := f.inflate(make([]byte, n-1), packed); !errors.Is(err, errLong) {
					t.Errorf("%d bytes of %s, level %d, one less wanted: %v", n, kind, level, err)
				}
				if err := f.inflate(make([]byte, n), packed[:random.IntN(len(packed))]); !errors.Is(err, errTorn) && !errors.Is(err, errHeader) {
					t.Errorf("%d bytes of %s, level %d, torn: %v", n, kind, level, err)
				}
			}
		}
	}
}

func TestInflateRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, errHeader},
		{"gzip", []byte{0x1f, 0x8b, 8, 0}, errHeader},
		{"a dictionary", []byte{0x78, 0xbb, 0, 0, 0, 0}, errHeader},
		{"only a header", []byte{0x78, 0x9c}, errTorn},
		{"block type 3", []byte{0x78, 0x9c, 7}, errCodes},
		{"stored, lengths disagree", []byte{0x78, 0x9c, 1, 1, 0, 0, 0, 0}, errCodes},
		{"fixed, a match before the data", []byte{0x78, 0x9c, 0x03, 0x02, 0, 0, 0, 0}, errDistance},
		{"own codes, all of one bit", []byte{0x78, 0x9c, 0x05, 0xe0, 0x24, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24}, errCodes},
		{"wrong sum", func() []byte {
			data := deflate(t, make([]byte, 8), 6)
			data[len(data)-1]++
			return data
		}(), errSum},
	} {
		if err := new(inflater).inflate(make([]byte, 8), test.data); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// FuzzInflate compares with Go's own reader.
func FuzzInflate(f *testing.F) {
	for _, data := range samplesOf(rand.New(rand.NewPCG(3, 4)), 600) {
		for _, level := range []int{zlib.HuffmanOnly, zlib.NoCompression, 6} {
			f.Add(deflate(f, data, level), 600)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 0 || size > 1<<16 {
			return
		}
		var want []byte
		r, wantErr := zlib.NewReader(bytes.NewReader(data))
		if wantErr == nil {
			want, wantErr = io.ReadAll(io.LimitReader(r, int64(size)+1))
		}
		got := make([]byte, size)
		err := new(inflater).inflate(got, data)
		if accepted := wantErr == nil && len(want) == size; (err == nil) != accepted {
			t.Fatalf("%v, Go says %d of %d bytes, %v", err, len(want), size, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatal("not the same bytes")
		}
	})
}
