package depthmap

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
)

// What is wrong with data that are no zlib stream of just the wanted size.
var (
	errHeader   = errors.New("no zlib header")
	errCodes    = errors.New("deflate: code lengths that make no code")
	errCode     = errors.New("deflate: bits that are no code")
	errDistance = errors.New("deflate: a match that begins before the data")
	errTorn     = errors.New("deflate: data end too early")
	errLong     = errors.New("deflate: data go on after the last sample")
	errSum      = errors.New("zlib: wrong checksum")
)

// inflater reads zlib streams (RFC 1950) of a size that is known. Depth maps hold hardly anything but literals, two to a
// sample: its tables give two at a time, which makes it twice as quick as a reader for all kinds of data
// (BenchmarkUnpack).
// It keeps its tables, so one inflater serves one goroutine.
type inflater struct {
	src  []byte
	next int    // in src
	buf  uint64 // bits taken from src and not used yet, the next one lowest
	held uint   // how many of them count

	dst []byte
	at  int // in dst

	literals, distances prefixCode
	lengths             [maxLiterals + maxDistances]uint8
	fixed               bool // literals and distances are those of fixedCodes
}

const (
	maxLiterals  = 288 // RFC 1951, 3.2.5 and 3.2.6: literals, the end of a block, lengths of matches
	maxDistances = 32
	endOfBlock   = 256
)

// inflate fills dst with what src holds; what follows the stream in src is ignored.
func (f *inflater) inflate(dst, src []byte) error {
	const deflated, dictionary = 8, 1 << 5
	if len(src) < 2 || src[0]&15 != deflated || src[0]>>4 > 7 || binary.BigEndian.Uint16(src)%31 != 0 || src[1]&dictionary != 0 {
		return errHeader
	}
	f.src, f.next, f.buf, f.held, f.dst, f.at = src, 2, 0, 0, dst, 0
	defer func() { f.src, f.dst = nil, nil }()
	for last := false; !last; {
		head, err := f.take(3)
		if err != nil {
			return err
		}
		last = head&1 != 0
		switch head >> 1 {
		case 0:
			err = f.stored()
		case 1:
			if err = f.fixedCodes(); err == nil {
				err = f.block()
			}
		case 2:
			if err = f.ownCodes(); err == nil {
				err = f.block()
			}
		default:
			err = errCodes
		}
		if err != nil {
			return err
		}
	}
	if f.at < len(dst) {
		return errTorn
	}
	f.alignToByte()
	if len(src)-f.next < 4 {
		return errTorn
	}
	if binary.BigEndian.Uint32(src[f.next:]) != adler32.Checksum(dst) {
		return errSum
	}
	return nil
}

// fill takes bits from src until at least 56 are held, or src is at its end.
func (f *inflater) fill() {
	if f.next+8 <= len(f.src) {
		f.buf |= binary.LittleEndian.Uint64(f.src[f.next:]) << f.held
		f.next += int(63-f.held) >> 3
		f.held |= 56
		return
	}
	for ; f.held < 56 && f.next < len(f.src); f.next++ {
		f.buf |= uint64(f.src[f.next]) << f.held
		f.held += 8
	}
}

// take uses up to 16 bits.
func (f *inflater) take(n uint) (uint, error) {
	if f.held < n {
		if f.fill(); f.held < n {
			return 0, errTorn
		}
	}
	value := uint(f.buf) & (1<<n - 1)
	f.use(n)
	return value, nil
}

func (f *inflater) use(n uint) {
	f.buf >>= n
	f.held -= n
}

// alignToByte gives back whole bytes, and drops the bits before the first of them.
func (f *inflater) alignToByte() {
	f.next -= int(f.held / 8)
	f.buf, f.held = 0, 0
}

// stored copies a block that is not compressed (RFC 1951, 3.2.4).
func (f *inflater) stored() error {
	f.alignToByte()
	if len(f.src)-f.next < 4 {
		return errTorn
	}
	n := int(binary.LittleEndian.Uint16(f.src[f.next:]))
	if uint16(n) != ^binary.LittleEndian.Uint16(f.src[f.next+2:]) {
		return errCodes
	}
	f.next += 4
	switch {
	case n > len(f.src)-f.next:
		return errTorn
	case n > len(f.dst)-f.at:
		return errLong
	}
	f.at += copy(f.dst[f.at:], f.src[f.next:f.next+n])
	f.next += n
	return nil
}

// fixedCodes makes the codes of RFC 1951, 3.2.6.
func (f *inflater) fixedCodes() error {
	if f.fixed {
		return nil
	}
	literals, distances := f.lengths[:maxLiterals], f.lengths[maxLiterals:]
	for i := range literals {
		switch {
		case i < 144:
			literals[i] = 8
		case i < 256:
			literals[i] = 9
		case i < 280:
			literals[i] = 7
		default:
			literals[i] = 8
		}
	}
	for i := range distances {
		distances[i] = 5
	}
	err := f.makeCodes(literals, distances)
	f.fixed = err == nil
	return err
}

// lengthOrder is the order in which the lengths of the code for code lengths come (RFC 1951, 3.2.7).
var lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// ownCodes reads the codes that a block brings (RFC 1951, 3.2.7).
func (f *inflater) ownCodes() error {
	f.fixed = false
	counts, err := f.take(14)
	if err != nil {
		return err
	}
	literals, distances, given := 257+int(counts&31), 1+int(counts>>5&31), 4+int(counts>>10)
	var first [19]uint8
	for _, symbol := range lengthOrder[:given] {
		n, err := f.take(3)
		if err != nil {
			return err
		}
		first[symbol] = uint8(n)
	}
	if err := f.literals.make(first[:]); err != nil {
		return err
	}
	lengths := f.lengths[:literals+distances]
	for i := 0; i < len(lengths); {
		f.fill()
		symbol, err := f.symbol(&f.literals)
		if err != nil {
			return err
		}
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		var value uint8
		least, more := 3, uint(3)
		switch symbol {
		case 16:
			if i == 0 {
				return errCodes
			}
			value, more = lengths[i-1], 2
		case 18:
			least, more = 11, 7
		}
		extra, err := f.take(more)
		if err != nil {
			return err
		}
		times := least + int(extra)
		if times > len(lengths)-i {
			return errCodes
		}
		for range times {
			lengths[i] = value
			i++
		}
	}
	return f.makeCodes(lengths[:literals], lengths[literals:])
}

func (f *inflater) makeCodes(literals, distances []uint8) error {
	if len(literals) <= endOfBlock || literals[endOfBlock] == 0 {
		return errCodes // a block without end
	}
	if err := f.literals.make(literals); err != nil {
		return err
	}
	f.literals.pair()
	return f.distances.make(distances)
}

// block decodes one block's symbols.
func (f *inflater) block() error {
	for {
		f.run()
		f.fill()
		symbol, err := f.symbol(&f.literals)
		switch {
		case err != nil:
			return err
		case symbol < endOfBlock:
			if f.at == len(f.dst) {
				return errLong
			}
			f.dst[f.at] = byte(symbol)
			f.at++
		case symbol == endOfBlock:
			return nil
		default:
			if err := f.match(symbol); err != nil {
				return err
			}
		}
	}
}

// run decodes literals for as long as neither end is near and nothing else comes: the hot loop.
func (f *inflater) run() {
	src, dst, next, at, buf, held := f.src, f.dst, f.next, f.at, f.buf, f.held
	table := &f.literals.table
	const lookups = 5 // of tableBits each out of 56 bits; each writes 2 bytes, of which one may not count
hot:
	for next+8 <= len(src) && at+2*lookups <= len(dst) {
		buf |= binary.LittleEndian.Uint64(src[next:]) << held
		next += int(63-held) >> 3
		held |= 56
		for range lookups {
			e := table[buf&(1<<tableBits-1)]
			n := e >> entryLiterals & 3
			if n == 0 {
				break hot
			}
			binary.LittleEndian.PutUint16(dst[at:], uint16(e>>entryValue))
			at += int(n)
			buf >>= e & entryBits
			held -= uint(e & entryBits)
		}
	}
	f.next, f.at, f.buf, f.held = next, at, buf, held
}

// symbol decodes one symbol; at least 15 bits are held, unless src ends.
func (f *inflater) symbol(code *prefixCode) (int, error) {
	symbol, n := code.decode(uint(f.buf))
	if n > f.held {
		return 0, errTorn
	}
	if n == 0 {
		return 0, errCode
	}
	f.use(n)
	return symbol, nil
}

// Lengths and distances of matches, and their extra bits: RFC 1951, 3.2.5.
var (
	matchLengths = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra  = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}

	matchDistances = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra  = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// match copies what was there before. symbol is that of its length, above endOfBlock.
func (f *inflater) match(symbol int) error {
	symbol -= endOfBlock + 1
	if symbol >= len(matchLengths) {
		return errCode
	}
	extra, err := f.take(uint(lengthExtra[symbol]))
	if err != nil {
		return err
	}
	length := int(matchLengths[symbol]) + int(extra)
	f.fill()
	if symbol, err = f.symbol(&f.distances); err != nil {
		return err
	}
	if symbol >= len(matchDistances) {
		return errCode
	}
	if extra, err = f.take(uint(distanceExtra[symbol])); err != nil {
		return err
	}
	from := f.at - int(matchDistances[symbol]) - int(extra)
	switch {
	case from < 0:
		return errDistance
	case length > len(f.dst)-f.at:
		return errLong
	}
	for end := f.at + length; f.at < end; { // what is copied may reach into the copy
		f.at += copy(f.dst[f.at:end], f.dst[from:f.at])
	}
	return nil
}
