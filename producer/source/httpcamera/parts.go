package httpcamera

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what a camera sends.
const (
	maxPicture = 64 << 20 // bytes
	maxLine    = 8 << 10  // bytes of a line of a part's head
	maxBetween = 64 << 10 // bytes between two pictures
)

// errPart is returned when what a camera sends can't be taken apart.
var errPart = errors.New("the stream of pictures can't be read")

// parts takes the pictures out of multipart/x-mixed-replace as cameras send it: with or without a first boundary, with whatever
// boundary, with or without Content-Length, and JPEGs one behind the other with nothing between them.
type parts struct{ in *bufio.Reader }

// next is the next picture. [errPart] is returned when it is too large, has no end, or none comes.
func (p parts) next() ([]byte, error) {
	length, err := p.head()
	if err != nil {
		return nil, err
	}
	if length > 0 {
		return p.counted(length)
	}
	return jpeg(p.in)
}

// head reads up to a picture, and says how long it is; 0: it is a JPEG that says so itself.
func (p parts) head() (length int64, err error) {
	begun := false // a line of a head was read
	for read := 0; read < maxBetween; {
		if first, err := p.in.Peek(1); err == nil && first[0] == 0xff { // else it is not waited for two more bytes
			if start, err := p.in.Peek(3); err == nil && string(start) == "\xff\xd8\xff" {
				return length, nil
			}
		}
		line, err := p.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) { // what is no line is passed over like one
			return 0, err
		}
		read += len(line)
		text := strings.TrimRight(string(line), "\r\n")
		name, value, header := strings.Cut(text, ":")
		switch {
		case text == "" && begun && length > 0:
			return length, nil
		case strings.HasPrefix(text, "--"):
			begun, length = true, 0
		case header && strings.EqualFold(strings.TrimSpace(name), "content-length"):
			if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil && n > 0 {
				begun, length = true, n
			}
		case header:
			begun = true
		}
	}
	return 0, fmt.Errorf("%w: no picture in %d bytes", errPart, maxBetween)
}

// counted reads a picture of so many bytes.
func (p parts) counted(length int64) ([]byte, error) {
	if length > maxPicture {
		return nil, fmt.Errorf("%w: a picture of %d bytes, at most %d", errPart, length, maxPicture)
	}
	var data bytes.Buffer // it grows with what comes, not with what is promised
	if _, err := io.CopyN(&data, p.in, length); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// jpeg reads a JPEG up to its end, marker by marker (ITU-T T.81, B.1).
func jpeg(in *bufio.Reader) ([]byte, error) {
	var data bytes.Buffer
	take := func() (byte, error) {
		b, err := in.ReadByte()
		if err == nil && data.Len() >= maxPicture {
			err = fmt.Errorf("%w: a JPEG of more than %d bytes", errPart, maxPicture)
		}
		if err == nil {
			data.WriteByte(b)
		}
		return b, err
	}
	for before := byte(0); ; {
		b, err := take()
		if err != nil {
			return nil, err
		}
		marker := before == 0xff && b != 0 && b != 0xff
		before = b
		switch {
		case !marker || b == 0xd8 || b == 0x01 || b >= 0xd0 && b <= 0xd7: // coded bytes, or a marker of no length
		case b == 0xd9:
			return data.Bytes(), nil
		default:
			high, err := take()
			if err != nil {
				return nil, err
			}
			low, err := take()
			if err != nil {
				return nil, err
			}
			length := int64(high)<<8 | int64(low)
			if int64(data.Len())+length > maxPicture {
				return nil, fmt.Errorf("%w: a JPEG of more than %d bytes", errPart, maxPicture)
			}
			if _, err := io.CopyN(&data, in, max(0, length-2)); err != nil {
				return nil, err
			}
			before = 0
		}
	}
}
