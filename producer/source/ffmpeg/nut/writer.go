package nut

import (
	"encoding/binary"
	"io"
	"time"
)

// Writer writes one stream. It does so without syncpoints but the first (flag "pipe" of version 4): a reader keeps each of them
// for as long as it lives.
type Writer struct {
	out     io.Writer
	begun   bool
	stream  Stream
	scratch []byte
}

// unitsPerSecond of the time stamps written.
const unitsPerSecond = 1_000_000

// NewWriter writes frames of stream to w.
func NewWriter(w io.Writer, stream Stream) *Writer { return &Writer{out: w, stream: stream} }

// WriteFrame writes one frame, whose time stamp is kept to the microsecond and must not be negative. It is written as a whole: an
// error is that of the writer beneath.
func (w *Writer) WriteFrame(at time.Duration, key bool, data []byte) error {
	b := w.scratch[:0]
	units := uint64(max(0, at.Microseconds()))
	if !w.begun {
		b = w.headers(b, units)
	}
	start := len(b)
	b = append(b, codeCoded)
	flags := uint64(flagCodedPTS | flagSizeMSB | flagChecksum)
	if key {
		flags |= flagKey
	}
	b = appendVarint(b, flags)
	b = appendVarint(b, units+1<<ptsShift) // all of its bits
	b = appendVarint(b, uint64(len(data)))
	b = binary.BigEndian.AppendUint32(b, checksum(b[start:]))
	w.scratch = append(b, data...)
	_, err := w.out.Write(w.scratch)
	w.begun = w.begun || err == nil
	if cap(w.scratch) > 1<<20 { // what one large frame took is not kept
		w.scratch = nil
	}
	return err
}

const (
	codeCoded = 1 // the only valid frame code
	ptsShift  = 7
)

func (w *Writer) headers(b []byte, first uint64) []byte {
	const version, minor, pipe = 4, 0, 2
	main := appendVarints(nil, version, minor, 1 /* stream */, 65536 /* most distance */, 1 /* time base */, 1, unitsPerSecond)
	main = append(main, frameCodes(flagInvalid, 1)...)
	main = append(main, frameCodes(flagCoded, 1)...)
	main = append(main, frameCodes(flagInvalid, 253)...) // 'N' is no code
	main = appendVarints(main, 0 /* elided headers */, pipe)

	stream := appendVarints(nil, 0 /* ID */, 0 /* video */, 4)
	stream = append(stream, w.stream.Codec[:]...)
	stream = appendVarints(stream, 0 /* time base */, ptsShift, unitsPerSecond, 0 /* decode delay */, 0 /* flags */, 0 /* extra data */)
	stream = appendVarints(stream, uint64(max(1, w.stream.Width)), uint64(max(1, w.stream.Height)), 0, 0 /* aspect */, 0 /* colours */)

	b = append(b, magic...)
	b = appendPacket(b, startMain, main)
	b = appendPacket(b, startStream, stream)
	return appendPacket(b, startSyncpoint, appendVarints(nil, first, 0))
}

// frameCodes is a run of codes with these flags, pts_delta 0, size_mul 1, stream 0, size_lsb 0 and nothing reserved.
func frameCodes(flags, count uint64) []byte {
	b := appendVarints(nil, flags, 6)
	b = append(b, 0) // a signed 0
	return appendVarints(b, 1, 0, 0, 0, count)
}

func appendPacket(b []byte, startcode uint64, data []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, startcode)
	b = appendVarint(b, uint64(len(data)+4))
	b = append(b, data...)
	return binary.BigEndian.AppendUint32(b, checksum(data))
}

func appendVarints(b []byte, values ...uint64) []byte {
	for _, v := range values {
		b = appendVarint(b, v)
	}
	return b
}

func appendVarint(b []byte, v uint64) []byte {
	length := 1
	for rest := v >> 7; rest > 0; rest >>= 7 {
		length++
	}
	for i := length - 1; i > 0; i-- {
		b = append(b, byte(v>>(7*i))|0x80)
	}
	return append(b, byte(v)&0x7f)
}

// checksum is a CRC-32 with the generator 0x104c11db7, the highest bit first, beginning with 0.
func checksum(data []byte) (crc uint32) {
	for _, b := range data {
		crc ^= uint32(b) << 24
		for range 8 {
			carry := crc >> 31
			crc = crc<<1 ^ carry*0x04c11db7
		}
	}
	return crc
}
