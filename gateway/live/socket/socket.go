// Package socket writes websocket messages of several parts, as they lie in memory and with one system call (or, by TLS, with one
// for each record), to viewers of whom some are slow.
package socket

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	// chunk is the largest frame of a message, in bytes: a slow viewer is one that takes less within the time that it has, and pings
	// and pongs go between two.
	chunk = 64 << 10
	// unsent is how many bytes may wait in the kernel beyond what is on its way: what waits there can't be overtaken.
	unsent = 64 << 10
	// record is how many bytes a record of TLS holds.
	record = 16 << 10
	// controlSize holds a frame of the websocket's own, so that each comes to Write whole.
	controlSize = 256
	// mostWaiting bounds the frames of the websocket's own that wait for a message to end, in bytes.
	mostWaiting = 4 << 10
)

// Socket is the connection under a websocket. Pings, pongs and the closing are the websocket's, and go between the frames of
// messages that are sent here; no message may be written through the websocket itself.
type Socket struct {
	net.Conn
	within time.Duration
	ended  atomic.Bool // the closing frame is out, or waits: no message may follow
	busy   atomic.Bool

	turn sync.Mutex  // of whoever writes
	out  net.Buffers // under turn
	head [10]byte    // likewise

	mu      sync.Mutex
	waiting []byte // frames of the websocket's own that came while another was written
}

// Accept takes a websocket over as [websocket.Accept] does, which answers when it fails. A viewer that takes nothing for within is
// too slow: what is written to it then fails.
func Accept(w http.ResponseWriter, r *http.Request, options *websocket.AcceptOptions, within time.Duration) (*websocket.Conn, *Socket, error) {
	t := &taker{ResponseWriter: w, socket: &Socket{within: within}}
	conn, err := websocket.Accept(t, r, options)
	return conn, t.socket, err
}

// taker puts a Socket between the connection that is taken over and the websocket.
type taker struct {
	http.ResponseWriter
	socket *Socket
}

func (t *taker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	below := conn
	if secure, ok := conn.(*tls.Conn); ok {
		below = secure.NetConn()
	}
	if tcp, ok := below.(*net.TCPConn); ok {
		limitUnsent(tcp, unsent)
	}
	t.socket.Conn = conn
	return t.socket, bufio.NewReadWriter(buffered.Reader, bufio.NewWriterSize(t.socket, controlSize)), nil
}

// Write writes a frame of the websocket's own. While another is written it waits for the end of that, and Write does not.
func (s *Socket) Write(frame []byte) (int, error) {
	const opClose = 0x8
	if len(frame) > 0 && frame[0]&0xf == opClose {
		s.ended.Store(true)
	}
	if s.turn.TryLock() {
		defer s.release()
		return len(frame), s.put(frame)
	}
	s.mu.Lock()
	full := len(s.waiting)+len(frame) > mostWaiting
	if !full {
		s.waiting = append(s.waiting, frame...)
	}
	s.mu.Unlock()
	if full {
		return 0, fmt.Errorf("write to viewer: more than %d bytes wait for a frame to end", mostWaiting)
	}
	if s.turn.TryLock() { // whoever had it may not have seen the frame
		s.release()
	}
	return len(frame), nil
}

func (s *Socket) put(data []byte) error {
	if err := s.SetWriteDeadline(time.Now().Add(s.within)); err != nil {
		return err
	}
	_, err := s.Conn.Write(data)
	return err
}

// release ends a turn, and writes what came meanwhile.
func (s *Socket) release() {
	for {
		s.mu.Lock()
		waiting := s.waiting
		s.waiting = nil
		if len(waiting) == 0 {
			s.turn.Unlock()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		_ = s.put(waiting) // the connection is broken then, and says so again
	}
}

// Busy says whether a message is being written.
func (s *Socket) Busy() bool { return s.busy.Load() }

// Send writes the parts as one message or, when most is above 0, as messages of at most so many bytes. It is called by one
// goroutine. [net.ErrClosed] is returned after the closing.
func (s *Socket) Send(kind websocket.MessageType, most int, parts ...[]byte) error {
	s.busy.Store(true)
	defer s.busy.Store(false)
	rest := 0
	for _, part := range parts {
		rest += len(part)
	}
	for {
		n := rest
		if most > 0 {
			n = min(rest, most)
		}
		if err := s.message(kind, n, &parts); err != nil {
			return err
		}
		if rest -= n; rest == 0 {
			return nil
		}
	}
}

// message writes the first size bytes of the parts, which are cut off, as one message.
func (s *Socket) message(kind websocket.MessageType, size int, parts *[][]byte) error {
	opcode := byte(kind) // the kinds have the numbers of the frames
	for {
		n := min(size, chunk)
		size -= n
		if err := s.frame(opcode, size == 0, n, parts); err != nil || size == 0 {
			return err
		}
		opcode = 0 // goes on
	}
}

// frame writes the first n bytes of the parts, which are cut off, as a frame: RFC 6455, section 5.2.
func (s *Socket) frame(opcode byte, final bool, n int, parts *[][]byte) error {
	s.turn.Lock()
	defer s.release()
	if s.ended.Load() {
		return net.ErrClosed
	}
	if final {
		opcode |= 0x80
	}
	head := append(s.head[:0], opcode)
	switch {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	s.out = append(s.out[:0], head)
	s.cut(parts, n)
	if err := s.SetWriteDeadline(time.Now().Add(s.within)); err != nil {
		return err
	}
	return s.flush()
}

// flush writes out: where there is no TLS, as it lies in memory.
func (s *Socket) flush() error {
	if _, plain := s.Conn.(*net.TCPConn); plain {
		out := s.out // is used up
		_, err := out.WriteTo(s.Conn)
		return err
	}
	w := records.Get().(*bufio.Writer)
	defer func() { w.Reset(nil); records.Put(w) }()
	w.Reset(s.Conn)
	for _, part := range s.out {
		_, _ = w.Write(part) // Flush says it again
	}
	return w.Flush()
}

// records gather what TLS else makes a record, and a system call, of for each part.
var records = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, record) }}

// cut moves the first n bytes of the parts to out.
func (s *Socket) cut(parts *[][]byte, n int) {
	for n > 0 {
		part := (*parts)[0]
		if len(part) <= n {
			*parts = slices.Delete(*parts, 0, 1)
		} else {
			(*parts)[0] = part[n:]
			part = part[:n]
		}
		n -= len(part)
		if len(part) > 0 {
			s.out = append(s.out, part)
		}
	}
}
