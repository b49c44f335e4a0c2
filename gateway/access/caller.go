package access

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Caller is one who asks: whoever has a token, or anybody without one. A nil one may and sees everything. It does not change; what the
// file says of the token later is another one.
type Caller struct {
	entry entry
	all   bool   // it sees every source
	scope string // tells what is seen by one from what is seen by another
	limit *rate.Limiter
	done  chan struct{} // nil: it never ends
}

func newCaller(e entry) *Caller {
	c := &Caller{entry: e, all: slices.Contains(e.sources, "*"), done: make(chan struct{}), limit: rate.NewLimiter(rate.Inf, 0)}
	if !c.all {
		c.scope = strings.Join(slices.Sorted(slices.Values(e.sources)), " ")
	}
	if e.rate > 0 {
		c.limit = rate.NewLimiter(rate.Limit(e.rate), max(1, int(math.Ceil(e.rate))))
	}
	return c
}

// anonymous is the caller without a token.
func anonymous(may []Right) *Caller {
	c := newCaller(entry{name: "anonymous", may: may, sources: []string{"*"}})
	c.done = nil
	return c
}

// Name is the token's, or anonymous.
func (c *Caller) Name() string {
	if c == nil {
		return "anonymous"
	}
	return c.entry.name
}

// Rights are what it may.
func (c *Caller) Rights() []Right {
	if c == nil {
		return slices.Clone(Rights)
	}
	return slices.Clone(c.entry.may)
}

// Sources are the patterns of the sources that it sees.
func (c *Caller) Sources() []string {
	if c == nil {
		return []string{"*"}
	}
	return slices.Clone(c.entry.sources)
}

// Expires is when its token does; zero: never.
func (c *Caller) Expires() time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.entry.expires
}

// May says whether it may do that.
func (c *Caller) May(right Right) bool { return c == nil || slices.Contains(c.entry.may, right) }

// SeesAll says whether it sees every source.
func (c *Caller) SeesAll() bool { return c == nil || c.all }

// Sees says whether it sees a source. One that it does not see does not exist for it.
func (c *Caller) Sees(source string) bool {
	if c.SeesAll() {
		return true
	}
	return slices.ContainsFunc(c.entry.sources, func(pattern string) bool {
		fits, _ := path.Match(pattern, source) // the file's reader has tried the pattern
		return fits
	})
}

// Scope is the same for callers that see the same, and empty for those that see everything.
func (c *Caller) Scope() string {
	if c == nil {
		return ""
	}
	return c.scope
}

// Done is closed when the token is withdrawn, expires, or may something else: [Gate.Again] says what is now.
func (c *Caller) Done() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.done
}

// Ask returns a [Refusal] when it may not do that.
func (c *Caller) Ask(right Right) error {
	if c.May(right) {
		return nil
	}
	return Refusal{Code: http.StatusForbidden, Reason: ReasonMayNot, Text: fmt.Sprintf("%s does not have the right %s here", c.Name(), right)}
}

// take counts a request. A [Refusal] is returned when the token's rate is used up.
func (c *Caller) take(now time.Time) error {
	reserved := c.limit.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	reserved.CancelAt(now)
	return Refusal{Code: http.StatusTooManyRequests, Reason: ReasonRate, Text: fmt.Sprintf("%s may ask %v times a second", c.Name(), c.entry.rate), After: wait}
}

type callerKey struct{}

// With is ctx with a caller in it.
func With(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From is the caller that [With] put into ctx, and else one who may nothing.
func From(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return c
	}
	return Nobody()
}

// Nobody is a caller who may and sees nothing.
func Nobody() *Caller { return &Caller{entry: entry{name: "nobody"}} }
