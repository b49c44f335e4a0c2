package depthmap

import "math/bits"

// prefixCode is a Huffman code of RFC 1951, 3.2.2: codes of up to tableBits are looked up, longer ones are counted out.
type prefixCode struct {
	table   [1 << tableBits]uint32
	count   [maxCode + 1]int
	symbols [maxLiterals]uint16 // in the order of their codes
}

// What a table's entry says, from its lowest bit on: the length of its codes; how many literals they stand for, 0 for
// another symbol; these, the first lowest, or the symbol. An entry of 0 is a longer code, or none.
const (
	tableBits = 11
	maxCode   = 15

	entryBits     = 31
	entryLiterals = 5
	entryValue    = 7
)

// make makes the code in which each symbol has a code of the given length, 0 for none. errCodes is returned when there is
// no such code, or some bits would not be one; a single code of one bit is allowed, and none at all.
func (c *prefixCode) make(lengths []uint8) error {
	c.count = [maxCode + 1]int{}
	for _, n := range lengths {
		c.count[n]++
	}
	used := len(lengths) - c.count[0]
	c.count[0] = 0
	left := 1
	var codes, places [maxCode + 2]int
	for n := 1; n <= maxCode; n++ {
		if left = 2*left - c.count[n]; left < 0 {
			return errCodes
		}
		codes[n+1] = (codes[n] + c.count[n]) << 1
		places[n+1] = places[n] + c.count[n]
	}
	if left > 0 && (used > 1 || used != c.count[1]) {
		return errCodes
	}
	clear(c.table[:])
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		c.symbols[places[n]] = uint16(symbol)
		places[n]++
		code := codes[n]
		codes[n]++
		if n > tableBits {
			continue
		}
		entry := uint32(symbol)<<entryValue | uint32(n)
		if symbol < endOfBlock {
			entry |= 1 << entryLiterals
		}
		for i := int(bits.Reverse16(uint16(code)) >> (16 - n)); i < len(c.table); i += 1 << n {
			c.table[i] = entry
		}
	}
	return nil
}

// pair lets an entry stand for two literals where both codes fit.
func (c *prefixCode) pair() {
	for i := len(c.table) - 1; i >= 0; i-- { // from the top: what is looked at below is single still
		first := c.table[i]
		if first>>entryLiterals&3 == 0 {
			continue
		}
		n := first & entryBits
		second := c.table[i>>n]
		if second>>entryLiterals&3 != 1 || n+second&entryBits > tableBits {
			continue
		}
		c.table[i] = (first>>entryValue|second>>entryValue<<8)<<entryValue | 2<<entryLiterals | (n + second&entryBits)
	}
}

// decode decodes the first symbol in bits and says how many of them it took; 0: they are no code.
func (c *prefixCode) decode(bits uint) (symbol int, n uint) {
	e := c.table[bits&(1<<tableBits-1)]
	switch e >> entryLiterals & 3 {
	case 0:
		if e != 0 {
			return int(e >> entryValue), uint(e & entryBits)
		}
	case 1:
		return int(e >> entryValue), uint(e & entryBits)
	}
	code, first, place := 0, 0, 0
	for n = 1; n <= maxCode; n++ {
		code |= int(bits & 1)
		bits >>= 1
		if here := code - first; here < c.count[n] {
			return int(c.symbols[place+here]), n
		}
		place += c.count[n]
		first = (first + c.count[n]) << 1
		code <<= 1
	}
	return 0, 0
}
