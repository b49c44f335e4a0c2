// Package token makes tokens for the gateway.
package token

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// ErrUsage is returned when a flag can't be meant.
var ErrUsage = errors.New("usage")

// Command is the command line of token.
type Command struct {
	New New `cmd:"" help:"Make a token. It is printed once, on standard output; its entry goes into --tokens, or to standard error."`
}

// New is the command line of token new.
type New struct {
	Name    string   `env:"-" required:"" help:"Whose it is, as logs say: 1 to 32 of a-z, 0-9 and -. Each token has its own."`
	Source  []string `env:"-" placeholder:"PATTERN" help:"Sources that it sees, separated by commas; * stands for any part of a name, and alone for all."`
	May     []string `env:"-" default:"view" placeholder:"RIGHT" help:"What it may, separated by commas: view (scenes and pictures), predict (pictures of its own), status (how services do), manage (configure sources). Without it: view."`
	Expires string   `env:"-" placeholder:"WHEN" help:"When it ends: 30d (days from now), 2027-01-31 (at the end of that day, UTC), or 2027-01-31T12:00:00Z. Without it: never."`
	Rate    float64  `env:"-" placeholder:"N" help:"Requests a second; a websocket is one. Without it: as many as its address may."`
	Tokens  string   `placeholder:"FILE" help:"The gateway's file of tokens, which the entry is added to; it is made when there is none. The gateway reads it again."`
}

var days = regexp.MustCompile(`^([1-9][0-9]{0,4})d$`)

// expiry is when the token ends.
func (n *New) expiry(now time.Time) (time.Time, error) {
	if n.Expires == "" {
		return time.Time{}, nil
	}
	if found := days.FindStringSubmatch(n.Expires); found != nil {
		count, _ := strconv.Atoi(found[1]) // of at most five digits
		return now.AddDate(0, 0, count).Truncate(time.Second), nil
	}
	at, err := access.ParseExpiry(n.Expires)
	switch {
	case err != nil:
		return at, fmt.Errorf("%w: --expires %.40q: want 30d, 2027-01-31 or 2027-01-31T12:00:00Z", ErrUsage, n.Expires)
	case !at.After(now):
		return at, fmt.Errorf("%w: --expires %s is in the past", ErrUsage, n.Expires)
	}
	return at, nil
}

func (n *New) entry(now time.Time) (access.Entry, error) {
	e := access.Entry{Name: n.Name, Sources: n.Source, Rate: n.Rate}
	for _, right := range n.May {
		e.May = append(e.May, access.Right(right))
	}
	var err error
	e.Expires, err = n.expiry(now)
	return e, err
}

// Validate returns [ErrUsage] or [access.ErrFile] when the flags make no token.
func (n *New) Validate() error {
	e, err := n.entry(time.Now())
	if err != nil {
		return err
	}
	return e.Validate()
}

// Run prints a token on out, alone, so that it can be sent to a file; what else there is to say goes to log.
func (n *New) Run(out, log io.Writer) error {
	e, err := n.entry(time.Now())
	if err != nil {
		return err
	}
	secret := access.NewToken()
	e.Sum = access.Sum(secret)
	if n.Tokens != "" {
		if err := access.Add(n.Tokens, e); err != nil {
			return err
		}
		fmt.Fprintf(log, "%s is in %s. This is its token; it is told once:\n", n.Name, n.Tokens)
	} else {
		fmt.Fprintf(log, "To be added to the file of --tokens, under tokens:\n\n%s\nThis is the token; it is told once:\n", e)
	}
	_, err = fmt.Fprintln(out, secret)
	return err
}
