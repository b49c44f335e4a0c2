package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// ErrToken is returned when the gateway wants a token, or another one than it was given (it is wrong, has expired, or was withdrawn),
// and when [Options].Token gives none that could be sent. With the gateway's own words it is an [*api.Problem] too, with status 401.
var ErrToken = errors.New("no valid token")

const (
	maxToken   = 4096             // bytes
	tokenAgain = 30 * time.Second // before a token that was refused is sent once more
	tokenLook  = time.Second      // between two looks at whether there is another one
)

// What ends a websocket whose token is not good, or not good for this: codes of IANA's registry.
const (
	closeUnauthorized websocket.StatusCode = 3000
	closeForbidden    websocket.StatusCode = 3003
)

// TokenFile is an [Options].Token that reads a file every time it is asked, so that a token is changed without a restart. The file
// holds the token alone; blanks around it do not count.
func TokenFile(path string) func() (string, error) {
	return func() (string, error) {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		data, err := io.ReadAll(io.LimitReader(file, maxToken+3)) // a line's end more, and what is too much
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return "", fmt.Errorf("%s is empty", path)
		}
		return token, nil
	}
}

// token is the one of now; empty: none is to be sent. [ErrToken] is returned when there should be one.
func (c *Client) token() (string, error) {
	if c.given == nil {
		return "", nil
	}
	token, err := c.given()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: one has at most %d characters, ASCII without blanks", ErrToken, maxToken) // never which it was
	}
	return token, nil
}

// authorize adds a token to what is sent.
func authorize(header http.Header, token string) {
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
}

// refused is why a gateway answers no: a problem, and of a token's [ErrToken] too.
func refused(p *api.Problem) error {
	if p.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w: %w", ErrToken, p)
	}
	return p
}

// closed is why a gateway ended a websocket, as it would have answered by HTTP.
func closed(end websocket.CloseError) error {
	p := &api.Problem{Detail: end.Reason}
	if word, _, ok := strings.Cut(end.Reason, ":"); ok {
		p.Reason = word
	}
	switch end.Code {
	case closeUnauthorized:
		p.Status = http.StatusUnauthorized
	case closeForbidden:
		p.Status = http.StatusForbidden
	default:
		return nil
	}
	p.Title = http.StatusText(p.Status)
	return refused(p)
}

// awaitToken waits, after a token was refused, until there is another one or it may be sent once more. soon says that the connection
// worked until then: the new token is tried at once. false: ctx ended.
func (c *Client) awaitToken(ctx context.Context, old string, soon bool, wait time.Duration) bool {
	again := tokenAgain + rand.N(tokenAgain/2)
	for begun := time.Now(); time.Since(begun) < again; {
		if token, err := c.token(); err == nil && token != old {
			if soon {
				return sleep(ctx, rand.N(firstWait/2))
			}
			return sleep(ctx, wait/2+rand.N(wait))
		}
		if !sleep(ctx, tokenLook) {
			return false
		}
	}
	return true
}
