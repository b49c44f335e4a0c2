package predict

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/bits"
	"slices"
)

// unitSide is the side in pixels of what JPEG codes at once, and unitSize all of its pixels (ITU-T T.81, A.1.2).
const (
	unitSide = 8
	unitSize = unitSide * unitSide
)

// encodeGrey makes a grey JPEG on all cores: image/jpeg's tables and headers around a scan of our own, which takes a
// fraction of the library's time (BenchmarkEncodeGrey, ADR 5). shade fills in the pixels of rows top to bottom.
func encodeGrey(width, height int, shade func(pixels []byte, top, bottom int)) ([]byte, error) {
	tables, err := newGreyTables(width, height)
	if err != nil {
		return nil, err
	}
	strips := make([][]byte, (height+stripRows-1)/stripRows)
	err = inStrips(height, func(top, bottom int) error {
		pixels := make([]byte, width*(bottom-top))
		shade(pixels, top, bottom)
		strips[top/stripRows] = tables.scan(pixels, width)
		return nil
	})
	if err != nil {
		return nil, err
	}
	size := len(tables.header)
	for _, strip := range strips {
		size += len(strip) + 2
	}
	out := append(make([]byte, 0, size), tables.header...)
	for i, strip := range strips {
		if i > 0 {
			out = append(out, 0xff, markerRST0+byte((i-1)%8))
		}
		out = append(out, strip...)
	}
	return append(out, 0xff, markerEOI), nil
}

// code is an entry of a Huffman table: the code's bits, and how many.
type code struct {
	bits   uint32
	length uint32
}

// greyTables are what the scan of a grey picture is made with.
type greyTables struct {
	header []byte            // all before the scan's data
	zigzag [unitSize]uint8   // place of each coefficient, by its turn (T.81, figure A.6)
	gain   [unitSize]float32 // what makes a transform's coefficient, by its turn, a quantised one
	dc     [256]code         // by size
	ac     [256]code         // by run << 4 | size
}

// newGreyTables takes the tables out of the header that image/jpeg writes for a picture of one unit, and makes it one of
// width × height pixels in strips.
func newGreyTables(width, height int) (*greyTables, error) {
	var one bytes.Buffer
	if err := jpeg.Encode(&one, image.NewGray(image.Rect(0, 0, unitSide, unitSide)), &jpeg.Options{Quality: resentQuality}); err != nil {
		return nil, fmt.Errorf("encode depth map: %w", err)
	}
	data := one.Bytes()
	scan, frame, err := segments(data)
	if err != nil {
		return nil, err
	}
	t := &greyTables{zigzag: zigzag()}
	for at := 2; at < scan; at += 2 + int(binary.BigEndian.Uint16(data[at+2:])) {
		content := data[at+4 : at+2+int(binary.BigEndian.Uint16(data[at+2:]))]
		switch data[at+1] {
		case markerDQT:
			t.quantise([unitSize]byte(content[1:])) // the first of its tables
		case markerDHT:
			for len(content) > 0 {
				table := &t.dc
				if content[0]>>4 == 1 {
					table = &t.ac
				}
				content = content[1+readCodes(table, content[1:]):]
			}
		}
	}
	binary.BigEndian.PutUint16(data[frame+5:], uint16(height))
	binary.BigEndian.PutUint16(data[frame+7:], uint16(width))
	end := scan + 2 + int(binary.BigEndian.Uint16(data[scan+2:]))
	interval := (width + unitSide - 1) / unitSide * (stripRows / unitSide)
	t.header = slices.Concat(data[:scan], []byte{0xff, markerDRI, 0, 4, byte(interval >> 8), byte(interval)}, data[scan:end])
	return t, nil
}

// zigzag is the order in which coefficients are written: along the diagonals, up and down in turn.
func zigzag() (order [unitSize]uint8) {
	x, y := 0, 0
	for turn := range order {
		order[turn] = uint8(y*unitSide + x)
		switch up := (x+y)%2 == 0; {
		case up && x == unitSide-1, !up && y < unitSide-1 && x == 0:
			y++
		case !up && y == unitSide-1, up && y == 0:
			x++
		case up:
			x, y = x+1, y-1
		default:
			x, y = x-1, y+1
		}
	}
	return order
}

// quantise sets the gains: one over the steps of quantisation and over what [cosines] leaves the coefficients scaled by.
func (t *greyTables) quantise(steps [unitSize]byte) {
	scale := func(frequency int) float64 {
		if frequency == 0 {
			return 1
		}
		return math.Sqrt2 * math.Cos(float64(frequency)*math.Pi/16)
	}
	for turn, place := range t.zigzag {
		t.gain[turn] = float32(1 / (8 * float64(steps[turn]) * scale(int(place)%unitSide) * scale(int(place)/unitSide)))
	}
}

// readCodes makes the codes of a table that is written as T.81, B.2.4.2 says, and returns how many bytes it takes
// (T.81, annex C: codes of a length count upwards, a longer one goes on where they ended).
func readCodes(table *[256]code, written []byte) int {
	values, next := written[16:], uint32(0)
	read := 16
	for length := uint32(1); length <= 16; length++ {
		for range written[length-1] {
			table[values[0]] = code{next, length}
			values, next = values[1:], next+1
			read++
		}
		next <<= 1
	}
	return read
}

// scan codes the pixels of a strip, in rows of width: its last column and row go on to the end of their units.
func (t *greyTables) scan(pixels []byte, width int) []byte {
	height := len(pixels) / width
	w := bitWriter{out: make([]byte, 0, len(pixels)/4+64)}
	last := int32(0)
	var unit [unitSize]float32
	var edge [unitSide]byte
	for top := 0; top < height; top += unitSide {
		for left := 0; left < width; left += unitSide {
			for y := range unitSide {
				row := pixels[min(top+y, height-1)*width:][:width]
				if left+unitSide > width {
					for x := range edge {
						edge[x] = row[min(left+x, width-1)]
					}
					row = edge[:]
				} else {
					row = row[left : left+unitSide]
				}
				transformRow((*[unitSide]float32)(unit[y*unitSide:]), (*[unitSide]byte)(row))
			}
			transformColumns(&unit)
			last = t.write(&w, &unit, last)
		}
	}
	return w.end()
}

// write codes the coefficients of a unit (T.81, F.1.2) and returns its first, quantised; last is that of the unit before.
func (t *greyTables) write(w *bitWriter, unit *[unitSize]float32, last int32) int32 {
	var quantised [unitSize]int32
	nonzero := uint64(0)
	for turn, place := range &t.zigzag {
		if q := round(unit[place&63] * t.gain[turn]); q != 0 {
			quantised[turn] = q
			nonzero |= 1 << (turn & 63)
		}
	}
	value, size := magnitude(quantised[0] - last)
	c := t.dc[size]
	w.put(c.bits<<size|value, c.length+size)
	before := 0
	for rest := nonzero &^ 1; rest != 0; rest &= rest - 1 {
		turn := bits.TrailingZeros64(rest)
		run := turn - before - 1
		for ; run > 15; run -= 16 {
			w.put(t.ac[0xf0].bits, t.ac[0xf0].length)
		}
		value, size := magnitude(quantised[turn])
		c := t.ac[uint32(run)<<4&0xf0|size&0xf]
		w.put(c.bits<<size|value, c.length+size)
		before = turn
	}
	if before < len(quantised)-1 {
		w.put(t.ac[0].bits, t.ac[0].length)
	}
	return quantised[0]
}

// round is v to the nearest whole number. It is right below 2²² (adding 1.5·2²³ leaves no bits for what is behind the
// point); coefficients are below 2¹¹.
func round(v float32) int32 {
	return int32(math.Float32bits(v+(1<<23+1<<22))) - 0x4b400000
}

// magnitude is a number as JPEG writes it: how many bits, and these (T.81, F.1.2.1).
func magnitude(v int32) (value, size uint32) {
	sign := v >> 31
	size = uint32(bits.Len32(uint32((v ^ sign) - sign)))
	return uint32(v+sign) & (1<<size - 1), size
}

// levels are the values of pixels about zero (T.81, A.3.1).
var levels = func() (table [256]float32) {
	for i := range table {
		table[i] = float32(i) - 128
	}
	return table
}()

// transformRow and then transformColumns are the discrete cosine transform of a unit.
func transformRow(u *[unitSide]float32, p *[unitSide]byte) {
	u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7] = cosines(
		levels[p[0]], levels[p[1]], levels[p[2]], levels[p[3]], levels[p[4]], levels[p[5]], levels[p[6]], levels[p[7]])
}

func transformColumns(unit *[unitSize]float32) {
	for x := range unitSide {
		u := (*[57]float32)(unit[x : x+57])
		u[0], u[8], u[16], u[24], u[32], u[40], u[48], u[56] = cosines(u[0], u[8], u[16], u[24], u[32], u[40], u[48], u[56])
	}
}

// cosines is the transform of eight values, each coefficient scaled by its frequency's cosine and √8: Y. Arai, T. Agui,
// M. Nakajima, "A fast DCT-SQ scheme for images", Trans. IEICE E71 (1988).
func cosines(v0, v1, v2, v3, v4, v5, v6, v7 float32) (c0, c1, c2, c3, c4, c5, c6, c7 float32) {
	const (
		cos4     = math.Sqrt2 / 2
		cos6     = 0.38268343236508977172845998403039886676
		cos2Less = 0.54119610014619698439972320536638942006 // cos 2π/16 − cos 6π/16
		cos2More = 1.30656296487637652785664317342718715358 // cos 2π/16 + cos 6π/16
	)
	s07, d07, s16, d16 := v0+v7, v0-v7, v1+v6, v1-v6
	s25, d25, s34, d34 := v2+v5, v2-v5, v3+v4, v3-v4

	outer, inner := s07+s34, s16+s25
	c0, c4 = outer+inner, outer-inner
	even := s07 - s34
	turned := (s16 - s25 + even) * cos4
	c2, c6 = even+turned, even-turned

	low, middle, high := d34+d25, d25+d16, d16+d07
	both := (low - high) * cos6
	lower, higher := low*cos2Less+both, high*cos2More+both
	middle *= cos4
	plus, minus := d07+middle, d07-middle
	return c0, plus + higher, c2, minus - lower, c4, minus + lower, c6, plus - higher
}

// bitWriter writes the bits of a scan, and a zero byte behind each byte of ones (T.81, F.1.2.3).
type bitWriter struct {
	out     []byte
	pending uint64
	count   uint32 // bits of it, below 32 between two puts
}

// put writes up to 32 bits.
func (w *bitWriter) put(value, count uint32) {
	w.pending = w.pending<<count | uint64(value)
	w.count += count
	if w.count < 32 {
		return
	}
	w.count -= 32
	word := uint32(w.pending >> w.count)
	if (^word-0x01010101)&word&0x80808080 == 0 { // no byte of ones
		w.out = binary.BigEndian.AppendUint32(w.out, word)
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		w.putByte(byte(word >> shift))
	}
}

func (w *bitWriter) putByte(b byte) {
	if w.out = append(w.out, b); b == 0xff {
		w.out = append(w.out, 0)
	}
}

// end fills the last byte with ones and returns all.
func (w *bitWriter) end() []byte {
	w.put(1<<7-1, 7) // those beyond a whole byte are left
	for ; w.count >= 8; w.count -= 8 {
		w.putByte(byte(w.pending >> (w.count - 8)))
	}
	return w.out
}
