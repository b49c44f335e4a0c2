package flow

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Bounds of every message, checked on the raw bytes before anything is allocated for them.
const (
	MaxNesting  = 8
	MaxElements = 65536
)

// Message is anything that travels as msgpack over NATS.
type Message interface {
	*Frame | *Result | *Scene | *Done
}

// Encode appends the message to dst[:0] and returns the bytes; a dst that is big enough is used again.
func Encode[M Message](dst []byte, message M) ([]byte, error) {
	buffer := bytes.NewBuffer(dst[:0])
	encoder := msgpack.GetEncoder()
	defer msgpack.PutEncoder(encoder)
	encoder.Reset(buffer)
	encoder.UseCompactInts(true)
	if err := encoder.Encode(message); err != nil {
		return nil, fmt.Errorf("encode %T: %w", message, err)
	}
	return buffer.Bytes(), nil
}

// Decode reads one message. [ErrMessage] is returned when the bytes break a bound (see [Scan]), are no
// msgpack, or are followed by more; [ErrNewer] when they say that they are of a newer version, and don't fit this one.
func Decode[M Message](data []byte, message M) error {
	if err := Scan(data); err != nil {
		return err
	}
	decoder := msgpack.GetDecoder()
	defer msgpack.PutDecoder(decoder)
	decoder.Reset(bytes.NewReader(data))
	if err := decoder.Decode(message); err != nil {
		if isNewer(data) {
			return fmt.Errorf("%w: decode %T: %w", ErrNewer, message, err)
		}
		return fmt.Errorf("%w: decode %T: %w", ErrMessage, message, err)
	}
	return nil
}

// Scan walks one msgpack value without allocating and returns [ErrMessage] when it is not exactly the whole
// of data, nests deeper than [MaxNesting], holds more than [MaxElements] elements, or claims a length beyond
// the bytes that are left. msgpack v5.4 believes what a message claims, so this comes first (upstream issue 401).
func Scan(data []byte) error {
	s := scanner{rest: data}
	if err := s.value(0); err != nil {
		return err
	}
	if len(s.rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the value", ErrMessage, len(s.rest))
	}
	return nil
}

type scanner struct {
	rest     []byte
	elements int
}

func (s *scanner) value(depth int) error {
	if depth > MaxNesting {
		return fmt.Errorf("%w: nested deeper than %d", ErrMessage, MaxNesting)
	}
	if s.elements++; s.elements > MaxElements {
		return fmt.Errorf("%w: more than %d elements", ErrMessage, MaxElements)
	}
	if len(s.rest) == 0 {
		return fmt.Errorf("%w: ends too early", ErrMessage)
	}
	code := s.rest[0]
	s.rest = s.rest[1:]
	switch { // https://github.com/msgpack/msgpack/blob/master/spec.md
	case code <= 0x7f || code >= 0xe0: // fixint
		return nil
	case code <= 0x8f:
		return s.elementsOf(uint64(code&0x0f)*2, depth)
	case code <= 0x9f:
		return s.elementsOf(uint64(code&0x0f), depth)
	case code <= 0xbf:
		return s.skip(uint64(code & 0x1f))
	}
	switch code {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return nil
	case 0xcc, 0xd0:
		return s.skip(1)
	case 0xcd, 0xd1:
		return s.skip(2)
	case 0xca, 0xce, 0xd2:
		return s.skip(4)
	case 0xcb, 0xcf, 0xd3:
		return s.skip(8)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext: type and 1, 2, 4, 8, 16 bytes
		return s.skip(1 + 1<<(code-0xd4))
	case 0xc4, 0xc5, 0xc6: // bin
		return s.sized(code-0xc4, 0)
	case 0xc7, 0xc8, 0xc9: // ext
		return s.sized(code-0xc7, 1)
	case 0xd9, 0xda, 0xdb: // str
		return s.sized(code-0xd9, 0)
	case 0xdc, 0xdd:
		n, err := s.length(code - 0xdc + 1)
		if err != nil {
			return err
		}
		return s.elementsOf(n, depth)
	case 0xde, 0xdf:
		n, err := s.length(code - 0xde + 1)
		if err != nil {
			return err
		}
		return s.elementsOf(n*2, depth)
	}
	return fmt.Errorf("%w: 0x%02x begins no msgpack value", ErrMessage, code)
}

// length reads a big-endian integer of 1<<power bytes.
func (s *scanner) length(power byte) (uint64, error) {
	size := 1 << power
	if len(s.rest) < size {
		return 0, fmt.Errorf("%w: ends too early", ErrMessage)
	}
	var n uint64
	for _, b := range s.rest[:size] {
		n = n<<8 | uint64(b)
	}
	s.rest = s.rest[size:]
	return n, nil
}

func (s *scanner) sized(power byte, extra uint64) error {
	n, err := s.length(power)
	if err != nil {
		return err
	}
	return s.skip(n + extra)
}

func (s *scanner) skip(n uint64) error {
	if n > uint64(len(s.rest)) {
		return fmt.Errorf("%w: claims %d bytes, %d are left", ErrMessage, n, len(s.rest))
	}
	s.rest = s.rest[n:]
	return nil
}

func (s *scanner) elementsOf(n uint64, depth int) error {
	if n > uint64(len(s.rest)) { // every element takes a byte at least
		return fmt.Errorf("%w: claims %d elements, %d bytes are left", ErrMessage, n, len(s.rest))
	}
	for range n {
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}
