package callers

import (
	"iter"
	"net/netip"
	"strings"
)

// Bounds of what proxies say. What goes beyond is not read.
const (
	mostHops      = 32
	mostForwarded = 4 << 10 // bytes
)

// listed are the addresses of X-Forwarded-For, the last one first, up to one that is not understood.
func listed(lines []string) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		hops := 0
		for i := len(lines) - 1; i >= 0; i-- {
			for rest, more := lines[i], true; more; hops++ {
				text := rest
				at := strings.LastIndexByte(rest, ',')
				if more = at >= 0; more {
					rest, text = rest[:at], rest[at+1:]
				}
				address, ok := parse(text)
				if !ok || hops == mostHops || !yield(address) {
					return
				}
			}
		}
	}
}

// forwarded are the addresses of Forwarded (RFC 7239), the last one first, up to one that is unknown or hidden. There are none when it is
// malformed.
func forwarded(lines []string) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		hops, ok := clients(strings.Join(lines, ","))
		for i := len(hops) - 1; ok && i >= 0; i-- {
			address, known := parse(hops[i])
			if !known || !yield(address) {
				return
			}
		}
	}
}

// clients are the for= of each element, empty where there is none. ok is false when the text is malformed or too long.
func clients(text string) (hops []string, ok bool) {
	if len(text) > mostForwarded {
		return nil, false
	}
	hop, has := "", false
	for {
		text = strings.TrimLeft(text, " \t")
		if name := token(text); name != "" {
			value, rest, read := pair(text[len(name):])
			if !read {
				return nil, false
			}
			if strings.EqualFold(name, "for") {
				if hop != "" {
					return nil, false
				}
				hop = value
			}
			text, has = strings.TrimLeft(rest, " \t"), true
		}
		if text == "" || text[0] == ',' {
			if has {
				if hops = append(hops, hop); len(hops) > mostHops {
					return nil, false
				}
			}
			hop, has = "", false
		} else if text[0] != ';' {
			return nil, false
		}
		if text == "" {
			return hops, true
		}
		text = text[1:]
	}
}

// pair reads = and a value, a token or a quoted string.
func pair(text string) (value, rest string, ok bool) {
	text, ok = strings.CutPrefix(text, "=")
	if !ok {
		return "", "", false
	}
	if value = token(text); value != "" {
		return value, text[len(value):], true
	}
	if text, ok = strings.CutPrefix(text, `"`); !ok {
		return "", "", false
	}
	var read strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return read.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			read.WriteByte(text[i])
		case c < ' ' && c != '\t' || c == 0x7f || c == '\\':
			return "", "", false
		default:
			read.WriteByte(c)
		}
	}
	return "", "", false
}

// token is what a text begins with that needs no quotes (RFC 9110, 5.6.2), and the : of addresses whose proxies forget them.
func token(text string) string {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r > '~' || !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~:", r))
	})
	if end < 0 {
		return text
	}
	return text[:end]
}
