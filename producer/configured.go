package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/manage"
	"github.com/spatial-flow/spatial-flow/producer/owner"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const (
	configuredPlace = -1                      // of the lines of configured sources
	answerWithin    = 1800 * time.Millisecond // less than who asks waits
	leaveWithin     = 1500 * time.Millisecond // that a source of the same name, which was deleted, may take to end
	leaveEvery      = 50 * time.Millisecond
	lackEvery       = time.Second // look whether another carries what can't be carried here
)

// wanted is what there is to carry beside --source.
type wanted struct {
	file        listed
	sources     map[string]configured.Source
	credentials manage.Credentials
}

// follow has the sources of --source-file come and go with its lines, and those that are configured at run time with what is configured,
// until ctx ends.
func (c *carrier) follow(ctx context.Context) {
	if c.cfg.SourceFile == "" && len(c.cfg.AllowSource) == 0 {
		return
	}
	c.told = map[string]bool{}
	for _, err := range c.first.refused {
		c.told[err.Error()] = true
	}
	w, changes := wanted{file: listSources(c.first.file)}, make(chan func(*wanted))
	var tasks sync.WaitGroup
	defer tasks.Wait()
	hand := func(change func(*wanted)) {
		select {
		case changes <- change:
		case <-ctx.Done():
		}
	}
	stay := func(err error) { c.env.Log.Warn("the sources stay as they are", "error", err) }
	if c.cfg.SourceFile != "" {
		tasks.Go(func() {
			c.cfg.sourceFile().follow(ctx, c.first.file, func(data []byte) {
				hand(func(w *wanted) { w.file = listSources(data) })
			}, stay)
		})
	}
	if len(c.cfg.AllowSource) > 0 {
		c.setMine(namesOf(c.first.specs))
		var before []byte
		if c.cfg.CredentialFile != "" {
			var err error
			if before, err = c.cfg.credentialFile().read(); err != nil { // Validate has read it
				stay(err)
			}
		}
		w.credentials = c.credentials(before)
		if c.cfg.CredentialFile != "" {
			tasks.Go(func() {
				c.cfg.credentialFile().follow(ctx, before, func(data []byte) {
					hand(func(w *wanted) { w.credentials = c.credentials(data) })
				}, func(err error) { c.env.Log.Warn("the credentials stay as they are", "error", err) })
			})
		}
		tasks.Go(func() {
			configured.Watch(ctx, c.env.Bus, c.env.Log, func(all map[string]configured.Source) {
				hand(func(w *wanted) { w.sources = all })
			})
		})
		served, err := configured.Serve(c.env.Bus, c.env.Log, way(c.cfg.AllowSource), func(r configured.Request) configured.Answer { return c.answer(ctx, r) })
		if err != nil {
			c.env.Log.Error("no source can be configured", "error", err)
		} else {
			defer func() { _ = served.Unsubscribe() }() // the connection is closed, or it goes
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case change := <-changes:
			change(&w)
			c.change(ctx, w)
		}
	}
}

// credentials takes the file of credentials apart, and logs what is wrong with it.
func (c *carrier) credentials(data []byte) manage.Credentials {
	credentials, errs := manage.ParseCredentials(data)
	for _, err := range errs {
		c.env.Log.Error("credential passed over", "file", c.cfg.CredentialFile, "error", err)
	}
	return credentials
}

// way names those who allow the same: one of them is asked.
func way(patterns []string) string {
	h := fnv.New64a()
	h.Write([]byte(strings.Join(slices.Sorted(slices.Values(patterns)), " ")))
	return fmt.Sprintf("allow-%x", h.Sum64())
}

func namesOf(specs []source.Spec) map[string]bool {
	names := map[string]bool{}
	for _, s := range specs {
		names[s.Name] = true
	}
	return names
}

// patterns are those of --allow-source. The settings must be valid.
func (c Config) patterns() manage.Patterns {
	patterns, _ := manage.ParsePatterns(c.AllowSource) // tried by Validate
	return patterns
}

// allowed are the configured sources that may be carried here.
type allowed struct {
	specs   map[line]source.Spec
	refused []error
}

// configured are those of what is configured that may be carried here.
func (c *carrier) configured(w wanted) allowed {
	at, patterns := allowed{specs: map[line]source.Spec{}}, c.cfg.patterns()
	for _, name := range slices.Sorted(maps.Keys(w.sources)) {
		s := w.sources[name]
		if !patterns.Allow(s.URI) {
			continue // another's
		}
		var who manage.Credential
		var lacks string
		if s.Credential != "" {
			var err error
			if who, err = w.credentials.Of(s.Credential, s.URI); err != nil {
				lacks = err.Error()
			}
		}
		spec, err := source.Configured(name, s, c.cfg.settings(), who.User(), who.Password(), patterns.AllowURL)
		if err != nil {
			at.refused = append(at.refused, fmt.Errorf("configured source %s: %w", name, err))
			continue
		}
		s.Changed = time.Time{}
		text, err := json.Marshal([]any{name, s, who.User(), who.Password()})
		if err != nil {
			at.refused = append(at.refused, fmt.Errorf("configured source %s: %w", name, err))
			continue
		}
		at.specs[line{string(text), configuredPlace, lacks}] = spec
	}
	return at
}

// beside adds those whose line is new to sources that are there.
func (at allowed) beside(there taken, added map[line]bool, most int) taken {
	names := namesOf(there.specs)
	there.refused = append(there.refused, at.refused...)
	for _, l := range slices.SortedFunc(maps.Keys(at.specs), func(a, b line) int { return strings.Compare(a.text, b.text) }) {
		s := at.specs[l]
		switch {
		case !added[l]:
		case names[s.Name]:
			there.refused = append(there.refused, fmt.Errorf("%w: configured source %s: another source has its name", ErrSourceName, s.Name))
		case len(there.specs) >= most:
			there.refused = append(there.refused, fmt.Errorf("%w: configured source %s: there are %d already (--max-sources)", ErrConfig, s.Name, most))
		default:
			there.specs, there.lines, names[s.Name] = append(there.specs, s), append(there.lines, l), true
		}
	}
	return there
}

// lack shows a source that can't be carried here, and why, unless another carries it, until ctx ends.
func (c *carrier) lack(ctx context.Context, name, why string, row *account.Row) {
	row.StandBy(why)
	for alone := false; clock.Sleep(ctx, lackEvery); {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := c.env.Bus.LeaseHolder(call, owner.LeaseName(name))
		cancel()
		was := alone
		switch alone = errors.Is(err, bus.ErrNotFound); {
		case alone && was:
			row.Owned()
			row.Waiting(why)
		case !alone:
			row.StandBy(why)
		}
	}
}

func (c *carrier) setMine(names map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mine = names
}

func (c *carrier) isMine(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mine[name]
}

// answer says what becomes of a request, having done it.
func (c *carrier) answer(ctx context.Context, r configured.Request) configured.Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	code, err := configured.CodeSame, error(nil)
	if r.Op == configured.OpDelete {
		if err = configured.Delete(ctx, c.env.Bus, r.Name); err == nil {
			c.env.Log.Info("source is configured no more", "source", r.Name)
		}
	} else {
		code, err = c.put(ctx, r)
	}
	switch {
	case err == nil:
		return configured.Answer{Code: code}
	case code >= configured.CodeBad: // it says itself which
	case errors.Is(err, configured.ErrNotFound):
		code = configured.CodeNotFound
	case errors.Is(err, configured.ErrMost):
		code = configured.CodeTaken
	default:
		code = configured.CodeUnavailable
	}
	return configured.Answer{Code: code, Error: err.Error()}
}

func (c *carrier) put(ctx context.Context, r configured.Request) (configured.Code, error) {
	patterns := c.cfg.patterns()
	spec, err := source.Configured(r.Name, r.Source, c.cfg.settings(), "", "", patterns.AllowURL)
	switch {
	case err != nil:
		return configured.CodeBad, err
	case !patterns.Allow(r.Source.URI):
		return configured.CodeNotAllowed, fmt.Errorf("uri: %s is not allowed: --allow-source has %s", spec.URI, strings.Join(c.cfg.AllowSource, ", "))
	}
	if by, err := c.takenBy(ctx, r.Name); err != nil {
		return configured.CodeUnavailable, err
	} else if by != "" {
		return configured.CodeTaken, fmt.Errorf("name: %s is that of a source that %s has: give another", r.Name, by)
	}
	made, err := configured.Put(ctx, c.env.Bus, r.Name, r.Source, time.Now())
	if err != nil {
		return 0, err
	}
	c.env.Log.Info("source is configured", "source", r.Name, "uri", spec.URI, "credential", r.Source.Credential, "new", made)
	if made {
		return configured.CodeMade, nil
	}
	return configured.CodeSame, nil
}

// takenBy says who has a source of a name that is not configured; empty: nobody. One that was deleted a moment ago has the time to end.
func (c *carrier) takenBy(ctx context.Context, name string) (string, error) {
	for begin := time.Now(); ; {
		if c.isMine(name) {
			return "this producer", nil
		}
		all, err := configured.All(ctx, c.env.Bus)
		if err != nil {
			return "", err
		}
		if _, there := all[name]; there {
			return "", nil
		}
		holder, err := c.env.Bus.LeaseHolder(ctx, owner.LeaseName(name))
		switch {
		case errors.Is(err, bus.ErrNotFound) && !c.board.Has(name):
			return "", nil
		case err != nil && !errors.Is(err, bus.ErrNotFound):
			return "", err
		case time.Since(begin) > leaveWithin || !clock.Sleep(ctx, leaveEvery):
			if holder == "" || holder == c.board.Instance() {
				return "this producer", nil
			}
			return "producer " + holder, nil
		}
	}
}
