package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// followEvery is how often the file is looked at, and whether a token has expired. What the file says counts once it says it twice, so
// that one that is just being written is not believed.
const followEvery = 400 * time.Millisecond

// Doors of spatialflow_refused_total.
const (
	doorTokens = "tokens" // the file
	doorAccess = "access" // whoever asks
)

// Gate tells who asks. Its methods may be called from many goroutines. A nil one is open.
type Gate struct {
	file      string
	log       *slog.Logger
	refused   *prometheus.CounterVec
	address   func(*http.Request) netip.Addr
	failures  *failures
	anonymous *Caller       // nil: who has no token may nothing
	loud      *rate.Limiter // lines of the log about wrong tokens

	mu      sync.RWMutex
	said    []byte // of the file, as it counts
	callers []*Caller
}

// New makes a gate of what is set, and reads the file; it is nil when everybody may everything. address tells where a request comes
// from. [ErrFile] is returned when the file can't be meant.
func New(cfg Config, log *slog.Logger, registry prometheus.Registerer, refused *prometheus.CounterVec, address func(*http.Request) netip.Addr) (*Gate, error) {
	if cfg.Open() {
		return nil, nil
	}
	g := &Gate{file: cfg.Tokens, log: log, refused: refused, address: address, failures: newFailures(), loud: rate.NewLimiter(1, 10)}
	if len(cfg.Anonymous) > 0 {
		may := make([]Right, len(cfg.Anonymous))
		for i, right := range cfg.Anonymous {
			may[i] = Right(right)
		}
		g.anonymous = anonymous(may)
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "spatialflow_token_failed_addresses", Help: "Addresses that are remembered for wrong tokens; at most 4096 are.",
	}, func() float64 { return float64(g.failures.count()) }))
	if g.file == "" {
		return g, nil
	}
	data, err := readFile(g.file)
	if err != nil {
		return nil, err
	}
	entries, err := parse(g.file, data)
	if err != nil {
		return nil, err
	}
	g.take(data, entries, time.Now())
	return g, nil
}

// Run follows the file, and ends callers whose tokens expire, until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	if g == nil || g.file == "" {
		return
	}
	before, looked := g.said, g.said // as it was read last, and as it was understood, or not, last
	told := ""
	for clock.Sleep(ctx, followEvery) {
		g.expire(time.Now())
		data, err := readFile(g.file)
		if err == nil {
			twice := bytes.Equal(data, before)
			before = data
			if bytes.Equal(data, g.said) {
				looked, told = data, ""
			}
			if !twice || bytes.Equal(data, looked) {
				continue
			}
			looked = data
			var entries []entry
			if entries, err = parse(g.file, data); err == nil {
				g.take(data, entries, time.Now())
				g.log.Info("the tokens are read again", "file", g.file, "tokens", len(entries))
				told = ""
				continue
			}
		}
		if told != err.Error() {
			told = err.Error()
			g.refused.WithLabelValues(doorTokens, "malformed").Inc()
			g.log.Error("the tokens stay as they were", "error", err)
		}
	}
}

// take has the file's entries count. Callers of which it says what it said before go on.
func (g *Gate) take(data []byte, entries []entry, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.callers
	g.said, g.callers = data, make([]*Caller, len(entries))
	for i, e := range entries {
		c := find(before, e.sum)
		if c == nil || !c.entry.equal(e) {
			next := newCaller(e)
			if c != nil && c.entry.rate == e.rate {
				next.limit = c.limit
			}
			c = next
		}
		g.callers[i] = c
	}
	for _, c := range before {
		if find(g.callers, c.entry.sum) != c {
			c.end()
		}
	}
	g.expireLocked(now)
}

// expire ends the callers whose tokens have expired.
func (g *Gate) expire(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expireLocked(now)
}

func (g *Gate) expireLocked(now time.Time) {
	for _, c := range g.callers {
		if c.expired(now) {
			c.end()
		}
	}
}

// end closes Done, under the gate's lock.
func (c *Caller) end() {
	select {
	case <-c.done:
	default:
		close(c.done)
	}
}

func (c *Caller) expired(now time.Time) bool {
	return !c.entry.expires.IsZero() && !now.Before(c.entry.expires)
}

// Tokens says whether there is a file of tokens.
func (g *Gate) Tokens() bool { return g != nil && g.file != "" }

// Caller is who sends a request, by its Authorization header, or nobody known. A [Refusal] is returned, after a while to who sends many
// wrong tokens, when that one is not answered. It is nil, who may everything, when the gate is open.
func (g *Gate) Caller(r *http.Request) (*Caller, error) {
	if g == nil {
		return nil, nil
	}
	token, _ := Bearer(r)
	return g.Token(r.Context(), token, r)
}

// Address is where a request comes from.
func (g *Gate) Address(r *http.Request) netip.Addr { return g.address(r) }

// Bearer is the token of a request's Authorization header. What is said of another scheme is none. Of several headers none is picked, as
// somebody before the gateway may have looked at another one: they are a wrong token.
func Bearer(r *http.Request) (token string, given bool) {
	said := r.Header["Authorization"]
	if len(said) > 1 {
		return "several", true
	}
	scheme, token := strings.Join(said, ""), ""
	if end := strings.IndexAny(scheme, " \t"); end >= 0 {
		scheme, token = scheme[:end], strings.TrimSpace(scheme[end:])
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, token != ""
}

// Token is who has a token, which r or a message of its connection came with; without one, those without. Refused is as by [Gate.Caller].
func (g *Gate) Token(ctx context.Context, token string, r *http.Request) (*Caller, error) {
	if g == nil {
		return nil, nil
	}
	now := time.Now()
	c, err := g.known(token, now)
	if err == nil {
		err = c.take(now)
	}
	if err == nil {
		return c, nil
	}
	if errors.Is(err, errWrong) {
		address := g.address(r)
		first, often := g.failures.slow(ctx, address, now)
		if first && g.loud.Allow() {
			g.log.Warn("wrong tokens come from an address: it is answered slowly", "address", address)
		}
		if often {
			err = errOften
		}
	}
	return nil, g.Refused(err)
}

// known is who has the token now.
func (g *Gate) known(token string, now time.Time) (*Caller, error) {
	switch {
	case token == "" && g.anonymous == nil:
		return nil, errMissing
	case token == "":
		return g.anonymous, nil
	case !tokenText.MatchString(token):
		return nil, errWrong
	}
	sum := Sum(token)
	g.mu.RLock()
	c := find(g.callers, sum)
	g.mu.RUnlock()
	switch {
	case c == nil:
		return nil, errWrong
	case c.expired(now):
		return nil, errExpired
	}
	return c, nil
}

// Again is who has the token of a caller that is done, as the file says now. A [Refusal] is returned when nobody has.
func (g *Gate) Again(c *Caller) (*Caller, error) {
	g.mu.RLock()
	now := find(g.callers, c.entry.sum)
	g.mu.RUnlock()
	switch {
	case now == nil:
		return nil, g.Refused(errWrong)
	case now == c, now.expired(time.Now()): // nothing else ends the one that the file means
		return nil, g.Refused(errExpired)
	}
	return now, nil
}

// Refused counts a refusal, and is it.
func (g *Gate) Refused(err error) error {
	var no Refusal
	if errors.As(err, &no) {
		g.refused.WithLabelValues(doorAccess, no.Reason).Inc()
		return err
	}
	return fmt.Errorf("who asks: %w", err)
}

// Enter returns a [Refusal], which it counts, when a caller may not do that.
func (g *Gate) Enter(c *Caller, right Right) error {
	if err := c.Ask(right); err != nil {
		return g.Refused(err)
	}
	return nil
}

// Denied is why a context that [Gate.Hold] made ended: an error that is a [Refusal]; nil when it is for something else, or not yet.
func Denied(held context.Context) error {
	if no := (Refusal{}); errors.As(context.Cause(held), &no) {
		return no
	}
	return nil
}

// Hold is ctx as long as a caller may view a source, whatever else the file says of its token meanwhile. The function that is returned
// must be called.
func (g *Gate) Hold(ctx context.Context, c *Caller, source string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if c.Done() == nil {
		return ctx, func() { cancel(nil) }
	}
	var held sync.WaitGroup
	held.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.Done():
			}
			var err error
			if c, err = g.Again(c); err == nil {
				err = g.Enter(c, View)
			}
			if err == nil && !c.Sees(source) {
				err = g.Refused(errHidden) // a good token is not told to be forgotten
			}
			if err != nil {
				cancel(err)
				return
			}
		}
	})
	return ctx, func() { cancel(nil); held.Wait() }
}
