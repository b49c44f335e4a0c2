package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// Problem is an answer that says why there is none: a JSON object (RFC 9457, application/problem+json). As an error it is
// what [ParseProblem] read.
type Problem struct {
	Type     string `json:"type"` // about:blank: the status says what it is
	Title    string `json:"title"`
	Status   int    `json:"status"` // of HTTP
	Detail   string `json:"detail"`
	Instance string `json:"instance"` // the path that was asked for
	Reason   string `json:"reason"`   // a word for programs
	Message  string `json:"error"`    // the detail, under the key that older gateways have alone
	// RequestID is the name of the request in the gateway's log, which the header X-Request-Id has too; older gateways have none.
	RequestID string `json:"request_id,omitempty"`
	// RetryAfter is when to ask again; 0: the gateway does not say.
	RetryAfter time.Duration `json:"-"`
}

// Error is the gateway's words.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Message
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	return fmt.Sprintf("the gateway answers %d: %.1000s", p.Status, Printable(text))
}

// Printable is a text of a gateway without what would steer a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// ParseProblem is what an answer with this status says, whatever its body holds.
func ParseProblem(status int, body []byte) *Problem {
	p := new(Problem)
	if count(body) != nil || json.Unmarshal(body, p) != nil {
		p = new(Problem) // a proxy's words, or none
	}
	p.Status = status
	return p
}
