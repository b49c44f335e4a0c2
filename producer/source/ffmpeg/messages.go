package ffmpeg

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// Bounds of what is kept of a program's messages, however many there are.
const (
	maxLine     = 1 << 10 // bytes of a line; the rest of it is passed over
	maxReason   = 200     // bytes of what is told of one
	keptMessage = 16      // errors that are kept to tell of the last that says why
)

// logLevel has each message on a line of its own, with its level, however often it comes.
const logLevel = "repeat+level+warning"

// messages are what ffmpeg says on its standard error.
type messages struct {
	stream int // of the input, that is decoded; -1: any

	mu      sync.Mutex
	corrupt uint64
	cut     bool     // the file ends within a packet
	errors  []string // the last ones, oldest first
	drained chan struct{}
}

func newMessages(stream int) *messages {
	return &messages{stream: stream, drained: make(chan struct{})}
}

// read takes messages until there are no more. It never waits for anything but them.
func (m *messages) read(from io.Reader) {
	defer close(m.drained)
	in := bufio.NewReaderSize(from, maxLine)
	for {
		line, prefix, err := in.ReadLine()
		if err != nil {
			return
		}
		m.take(string(line))
		for prefix && err == nil { // the rest of a long line
			_, prefix, err = in.ReadLine()
		}
	}
}

// Messages that tell of one packet or picture that is broken: the versions of ffmpeg say it in their own way. That of a packet of the
// input may be followed by one of its decoding, so that only the latter two count.
var (
	lost      = regexp.MustCompile(`Error while decoding stream #0:(\d+)|Error submitting packet to decoder|Decoding error: `)
	concealed = regexp.MustCompile(`corrupt decoded frame|error y=\d+ x=\d+`) // the latter of a JPEG, whose rest is left grey
	cut       = regexp.MustCompile(`: partial file$|File ended prematurely`)  // of MP4 and its kin, of Matroska
	component = regexp.MustCompile(`^(\[[^][]* @ 0x[0-9a-f]+\] )*`)
	level     = regexp.MustCompile(`^\[(fatal|error|panic)\] `)
)

func (m *messages) take(line string) {
	line = component.ReplaceAllString(line, "")
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := lost.FindStringSubmatch(line); found != nil {
		if m.stream < 0 || found[1] == "" || found[1] == fmt.Sprint(m.stream) {
			m.corrupt++
		}
		return // it says what, not why
	}
	if concealed.MatchString(line) {
		m.corrupt++
		return
	}
	m.cut = m.cut || cut.MatchString(line)
	if bare := level.ReplaceAllString(line, ""); bare != line {
		if len(m.errors) == keptMessage {
			m.errors = append(m.errors[:0], m.errors[1:]...)
		}
		m.errors = append(m.errors, printable(bare))
	}
}

// lastError is what it said last of an error; empty: nothing.
func (m *messages) lastError() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.errors) == 0 {
		return ""
	}
	return m.errors[len(m.errors)-1]
}

// said says whether an error said so.
func (m *messages) said(what string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.errors {
		if strings.Contains(e, what) {
			return true
		}
	}
	return false
}

func (m *messages) isCut() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cut
}

func (m *messages) corruptPackets() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.corrupt
}

// printable is text of one line that can't do anything to a terminal, and not too much of it.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(text), "?"))
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason-len("…")], "") + "…"
	}
	return text
}
