package flow

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// JSON is the scene without its depth map.
func (s *Scene) JSON() api.Scene {
	return api.Scene{
		Frame:    api.Frame{Source: s.Source, Session: s.Session, Seq: s.Seq, File: s.File},
		Captured: time.Unix(0, s.Captured).UTC(), Size: [2]int{s.Width, s.Height},
		Plan: notNil(s.Plan), Detections: notNil(s.Detections), Outcome: s.Outcome, Missing: notNil(s.Missing),
		Errors: s.Errors, Failures: s.Failures, Held: s.Held, Answers: answersJSON(s.Answers), Ledger: notNil(s.Ledger),
	}
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func answersJSON(answers map[string]map[string]msgpack.RawMessage) map[string]map[string]json.RawMessage {
	if len(answers) == 0 {
		return nil
	}
	all := make(map[string]map[string]json.RawMessage, len(answers))
	for group, values := range answers {
		all[group] = make(map[string]json.RawMessage, len(values))
		for key, value := range values {
			text, err := AppendJSON(nil, value)
			if err != nil {
				text = []byte("null")
			}
			all[group][key] = text
		}
	}
	return all
}

// AppendJSON appends a msgpack value as JSON: binary data, extensions, and keys that are arrays or maps as base64, numbers that are
// not finite as null, other keys that are no strings as their JSON in a string, and strings as UTF-8. [ErrMessage] is returned when data breaks a bound of
// [Scan]; the JSON is at most eight times as long.
func AppendJSON(dst, data []byte) ([]byte, error) {
	if err := Scan(data); err != nil {
		return dst, err
	}
	w := jsonWriter{dst: dst, rest: data}
	w.value()
	return w.dst, nil
}

// jsonWriter writes values that were scanned: every length is there.
type jsonWriter struct{ dst, rest []byte }

// number takes a big-endian integer of so many bytes.
func (w *jsonWriter) number(size int) (n uint64) {
	for _, b := range w.bytes(uint64(size)) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (w *jsonWriter) bytes(n uint64) []byte {
	data := w.rest[:n]
	w.rest = w.rest[n:]
	return data
}

func (w *jsonWriter) value() { // https://github.com/msgpack/msgpack/blob/master/spec.md
	code := w.bytes(1)[0]
	switch {
	case code <= 0x7f:
		w.dst = strconv.AppendUint(w.dst, uint64(code), 10)
	case code >= 0xe0:
		w.dst = strconv.AppendInt(w.dst, int64(int8(code)), 10)
	case code <= 0x8f:
		w.object(uint64(code & 0x0f))
	case code <= 0x9f:
		w.array(uint64(code & 0x0f))
	case code <= 0xbf:
		w.text(w.bytes(uint64(code & 0x1f)))
	case code == 0xc2:
		w.dst = append(w.dst, "false"...)
	case code == 0xc3:
		w.dst = append(w.dst, "true"...)
	case code >= 0xc4 && code <= 0xc6:
		w.binary(w.bytes(w.number(1 << (code - 0xc4))))
	case code >= 0xc7 && code <= 0xc9:
		w.extension(w.number(1 << (code - 0xc7)))
	case code == 0xca:
		w.float(float64(math.Float32frombits(uint32(w.number(4)))), 32)
	case code == 0xcb:
		w.float(math.Float64frombits(w.number(8)), 64)
	case code >= 0xcc && code <= 0xcf:
		w.dst = strconv.AppendUint(w.dst, w.number(1<<(code-0xcc)), 10)
	case code >= 0xd0 && code <= 0xd3:
		size := 1 << (code - 0xd0)
		shift := 64 - 8*size
		w.dst = strconv.AppendInt(w.dst, int64(w.number(size)<<shift)>>shift, 10)
	case code >= 0xd4 && code <= 0xd8:
		w.extension(1 << (code - 0xd4))
	case code >= 0xd9 && code <= 0xdb:
		w.text(w.bytes(w.number(1 << (code - 0xd9))))
	case code == 0xdc || code == 0xdd:
		w.array(w.number(2 << (code - 0xdc)))
	case code == 0xde || code == 0xdf:
		w.object(w.number(2 << (code - 0xde)))
	default:
		w.dst = append(w.dst, "null"...)
	}
}

func (w *jsonWriter) array(n uint64) {
	w.dst = append(w.dst, '[')
	for i := range n {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		w.value()
	}
	w.dst = append(w.dst, ']')
}

func (w *jsonWriter) object(n uint64) {
	w.dst = append(w.dst, '{')
	for i := range n {
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		w.key()
		w.dst = append(w.dst, ':')
		w.value()
	}
	w.dst = append(w.dst, '}')
}

// key writes a key. One that is an array or a map is binary data: quoted JSON within quoted JSON would have no bound.
func (w *jsonWriter) key() {
	if code := w.rest[0]; code >= 0x80 && code <= 0x9f || code >= 0xdc && code <= 0xdf {
		s := scanner{rest: w.rest}
		_ = s.value(0) // it was scanned
		w.binary(w.bytes(uint64(len(w.rest) - len(s.rest))))
		return
	}
	begin := len(w.dst)
	if w.value(); w.dst[begin] != '"' {
		key := slices.Clone(w.dst[begin:])
		w.dst = w.dst[:begin]
		w.text(key)
	}
}

func (w *jsonWriter) text(data []byte) {
	quoted, err := json.Marshal(string(data))
	if err != nil {
		panic(err) // a string: can't fail
	}
	w.dst = append(w.dst, quoted...)
}

func (w *jsonWriter) binary(data []byte) {
	w.dst = append(base64.StdEncoding.AppendEncode(append(w.dst, '"'), data), '"')
}

func (w *jsonWriter) extension(n uint64) {
	w.bytes(1) // its type
	w.binary(w.bytes(n))
}

func (w *jsonWriter) float(f float64, bits int) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.dst = append(w.dst, "null"...)
		return
	}
	w.dst = strconv.AppendFloat(w.dst, f, 'g', -1, bits)
}

// AppendLine appends the scene as one line of JSON.
func (s *Scene) AppendLine(dst []byte) ([]byte, error) {
	data, err := json.Marshal(s.JSON())
	if err != nil {
		return nil, err
	}
	return append(append(dst, data...), '\n'), nil
}
