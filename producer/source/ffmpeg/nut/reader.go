package nut

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Bounds of what is read.
const (
	maxPacket  = 1 << 16 // bytes of a header
	maxFrame   = 1 << 30 // bytes of a frame
	bufferSize = 4096    // a frame's bytes are read past it
)

// frameCode is what one byte says of the frame that it begins.
type frameCode struct {
	flags, sizeMul, sizeLSB, reserved uint64
	ptsDelta                          int64
}

// Reader reads one stream of raw pictures.
type Reader struct {
	in       *bufio.Reader
	codes    [256]frameCode
	bases    []timeBase
	base     timeBase
	shift    uint64 // bits of a time stamp that are coded when the rest is that of the one before
	last     int64  // time stamp
	streamed bool   // the stream's header was there
	left     int    // bytes of the frame that Next told of
	waste    []byte // where those go that nobody wants
}

// NewReader reads from r, by no more than what Next and Read ask for and a small buffer.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, bufferSize)} }

// Header reads the headers. [ErrFormat] is returned when there are none, or several streams; [io.EOF] when there is not a byte.
func (r *Reader) Header() (Stream, error) {
	if _, err := r.in.Peek(1); err != nil {
		return Stream{}, err
	}
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r.in, start); err != nil || string(start) != magic {
		return Stream{}, fmt.Errorf("%w: it begins with %.30q", ErrFormat, start)
	}
	var stream Stream
	for {
		code, err := r.startcode()
		if err != nil {
			return Stream{}, err
		}
		data, err := r.packet()
		if err != nil {
			return Stream{}, err
		}
		switch code {
		case startMain:
			err = r.mainHeader(data)
		case startStream:
			stream, err = r.streamHeader(data)
		}
		if err != nil {
			return Stream{}, err
		}
		next, err := r.in.Peek(8)
		if r.streamed && (err != nil || binary.BigEndian.Uint64(next) == startSyncpoint || next[0] != 'N') {
			return stream, nil
		}
	}
}

// Next reads what comes before a frame's bytes, which are for [Reader.Read]. [io.EOF] is returned after the last frame; another
// error when the stream is cut short within one.
func (r *Reader) Next() (Frame, error) {
	if err := r.discard(); err != nil {
		return Frame{}, err
	}
	for {
		code, err := r.in.ReadByte()
		if err != nil {
			return Frame{}, err
		}
		if code != 'N' {
			return r.frame(&r.codes[code])
		}
		if err := r.in.UnreadByte(); err != nil {
			return Frame{}, err
		}
		start, err := r.startcode()
		if err != nil {
			return Frame{}, err
		}
		data, err := r.packet()
		if err != nil {
			return Frame{}, err
		}
		if start == startSyncpoint {
			if err := r.syncpoint(data); err != nil {
				return Frame{}, err
			}
		}
	}
}

// Read reads the bytes of the frame that Next told of.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.in.Read(p[:min(len(p), r.left)])
	r.left -= n
	if err != nil {
		err = short(err)
	}
	return n, err
}

// discard passes over what is left of a frame, by more than the small buffer at once.
func (r *Reader) discard() error {
	if r.left > 0 && r.waste == nil {
		r.waste = make([]byte, 1<<18)
	}
	for r.left > 0 {
		if _, err := r.Read(r.waste); err != nil {
			return err
		}
	}
	return nil
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrFormat, io.ErrUnexpectedEOF)
	}
	return err
}

func (r *Reader) startcode() (uint64, error) {
	var code [8]byte
	if _, err := io.ReadFull(r.in, code[:]); err != nil {
		return 0, short(err)
	}
	if code[0] != 'N' {
		return 0, fmt.Errorf("%w: %x where a header should be", ErrFormat, code)
	}
	return binary.BigEndian.Uint64(code[:]), nil
}

// packet reads what follows a startcode, without its checksum: nothing is lost in a pipe.
func (r *Reader) packet() (*bytes.Reader, error) {
	size, err := varint(r.in)
	if err != nil {
		return nil, err
	}
	if size < 4 || size > maxPacket {
		return nil, fmt.Errorf("%w: header of %d bytes", ErrFormat, size)
	}
	if size > 4096 { // it has a checksum of its own
		if _, err := r.in.Discard(4); err != nil {
			return nil, short(err)
		}
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r.in, data); err != nil {
		return nil, short(err)
	}
	return bytes.NewReader(data[:size-4]), nil
}

func (r *Reader) mainHeader(data *bytes.Reader) error {
	f := fields{in: data}
	if version := f.v(); version > 3 {
		f.v() // the minor one
	}
	streams := f.v()
	f.v() // the largest distance between syncpoints
	count := f.v()
	if f.err != nil || streams != 1 || count < 1 || count > 16 {
		return fmt.Errorf("%w: %d streams with %d time bases: %w", ErrFormat, streams, count, f.err)
	}
	r.bases = make([]timeBase, count)
	for i := range r.bases {
		b := timeBase{f.v(), f.v()}
		if b.num < 1 || b.num > math.MaxInt32 || b.den < 1 || b.den > math.MaxInt32 {
			return fmt.Errorf("%w: time base %d/%d", ErrFormat, b.num, b.den)
		}
		r.bases[i] = b
	}
	return r.frameCodes(&f)
}

// frameCodes reads the table of frame codes: runs of codes of one kind, whose sizes differ by one.
func (r *Reader) frameCodes(f *fields) error {
	code, stream := frameCode{sizeMul: 1}, uint64(0)
	r.codes['N'] = frameCode{flags: flagInvalid}
	for i := 0; i < len(r.codes); {
		code.flags, code.sizeLSB, code.reserved = f.v(), 0, 0
		given := f.v()
		if given > 0 {
			code.ptsDelta = f.s()
		}
		if given > 1 {
			code.sizeMul = f.v()
		}
		if given > 2 {
			stream = f.v()
		}
		if given > 3 {
			code.sizeLSB = f.v()
		}
		if given > 4 {
			code.reserved = f.v()
		}
		count := code.sizeMul - code.sizeLSB
		if given > 5 {
			count = f.v()
		}
		for n := uint64(6); n < given && f.err == nil; n++ {
			f.v() // matching times, the index of an elided header, and what is reserved
		}
		if f.err != nil || stream != 0 || count < 1 || count > 256 || code.sizeMul > maxPacket || code.sizeLSB > maxPacket {
			return fmt.Errorf("%w: frame code %d: %w", ErrFormat, i, f.err)
		}
		for ; count > 0 && i < len(r.codes); i++ {
			if i == 'N' {
				continue
			}
			r.codes[i] = code
			code.sizeLSB++
			count--
		}
		if count > 0 {
			return fmt.Errorf("%w: %d frame codes too many", ErrFormat, count)
		}
		if i == 'N' {
			i++
		}
	}
	return nil
}

func (r *Reader) streamHeader(data *bytes.Reader) (s Stream, err error) {
	f := fields{in: data}
	id, class, codec := f.v(), f.v(), f.bytes(4)
	base, shift := f.v(), f.v()
	f.v() // the largest distance of time stamps
	f.v() // decode delay
	f.v() // flags
	f.bytes(maxPacket)
	width, height := f.v(), f.v()
	if f.err != nil || id != 0 || class != 0 || base >= uint64(len(r.bases)) || shift > 15 {
		return s, fmt.Errorf("%w: stream %d of class %d, time base %d: %w", ErrFormat, id, class, base, f.err)
	}
	if width < 1 || height < 1 || width > maxPacket || height > maxPacket {
		return s, fmt.Errorf("%w: pictures of %dx%d", ErrFormat, width, height)
	}
	copy(s.Codec[:], codec)
	s.Width, s.Height = int(width), int(height)
	r.base, r.shift, r.streamed = r.bases[base], shift, true
	return s, nil
}

func (r *Reader) syncpoint(data *bytes.Reader) error {
	f := fields{in: data}
	at := f.v()
	if f.err != nil || len(r.bases) == 0 {
		return fmt.Errorf("%w: syncpoint: %w", ErrFormat, f.err)
	}
	from, units := r.bases[at%uint64(len(r.bases))], at/uint64(len(r.bases))
	if from != r.base {
		units = uint64(float64(units) * float64(from.num) / float64(from.den) * float64(r.base.den) / float64(r.base.num))
	}
	r.last = int64(units)
	return nil
}

func (r *Reader) frame(code *frameCode) (Frame, error) {
	f := fields{in: r.in}
	flags, size, at, reserved := code.flags, code.sizeLSB, r.last+code.ptsDelta, code.reserved
	if flags&flagInvalid != 0 || !r.streamed {
		return Frame{}, fmt.Errorf("%w: invalid frame code", ErrFormat)
	}
	if flags&flagCoded != 0 {
		flags ^= f.v()
	}
	if flags&flagStreamID != 0 && f.v() != 0 {
		return Frame{}, fmt.Errorf("%w: frame of another stream", ErrFormat)
	}
	if flags&flagCodedPTS != 0 {
		at = r.full(f.v())
	}
	if flags&flagSizeMSB != 0 {
		msb := f.v()
		if msb > maxFrame {
			return Frame{}, fmt.Errorf("%w: frame of %d·%d bytes", ErrFormat, msb, code.sizeMul)
		}
		size += code.sizeMul * msb
	}
	if flags&flagMatchTime != 0 {
		f.s()
	}
	header := uint64(0)
	if flags&flagHeaderIdx != 0 {
		header = f.v()
	}
	if flags&flagReserved != 0 {
		reserved = f.v()
	}
	for ; reserved > 0 && f.err == nil; reserved-- {
		f.v()
	}
	if flags&flagChecksum != 0 {
		f.bytesOf(4)
	}
	switch {
	case f.err != nil:
		return Frame{}, f.err
	case size > maxFrame || flags&flagSideData != 0 || header != 0:
		return Frame{}, fmt.Errorf("%w: frame of %d bytes with flags %#x", ErrFormat, size, flags)
	}
	when, err := r.base.duration(at)
	if err != nil {
		return Frame{}, err
	}
	r.last, r.left = at, int(size)
	return Frame{Time: when, Size: int(size), Key: flags&flagKey != 0}, nil
}

// full is a time stamp of which, perhaps, only the lower bits are coded: the one of them that is closest to the last.
func (r *Reader) full(coded uint64) int64 {
	if coded >= 1<<r.shift {
		return int64(coded - 1<<r.shift)
	}
	mask := int64(1)<<r.shift - 1
	delta := r.last - mask/2
	return (int64(coded)-delta)&mask + delta
}

// byteReader is what fields are read from.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// fields reads one field after the other, and keeps the first error.
type fields struct {
	in  byteReader
	err error
}

// v is a number without a sign.
func (f *fields) v() uint64 {
	if f.err != nil {
		return 0
	}
	v, err := varint(f.in)
	f.err = err
	return v
}

// s is a number with a sign.
func (f *fields) s() int64 {
	v := f.v() + 1
	if v&1 != 0 {
		return -int64(v >> 1)
	}
	return int64(v >> 1)
}

// bytes are as many as the number before them says, at most most.
func (f *fields) bytes(most uint64) []byte {
	n := f.v()
	if f.err == nil && n > most {
		f.err = fmt.Errorf("%w: %d bytes", ErrFormat, n)
	}
	if f.err != nil {
		return nil
	}
	return f.bytesOf(n)
}

func (f *fields) bytesOf(n uint64) []byte {
	if f.err != nil {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(f.in, b); err != nil {
		f.err = short(err)
	}
	return b
}

// varint is a number of 7 bits a byte, the highest first; all bytes but the last have bit 7 set.
func varint(in io.ByteReader) (v uint64, err error) {
	for range 10 {
		b, err := in.ReadByte()
		if err != nil {
			return 0, short(err)
		}
		v = v<<7 | uint64(b&0x7f)
		if b&0x80 == 0 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a number of more than 10 bytes", ErrFormat)
}
