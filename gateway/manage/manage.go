// Package manage has sources configured at run time: it asks the producers that allow them, and knows what is configured and how that does.
package manage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

const (
	aliveFor      = 3 * time.Second // after which a producer that is not heard is gone
	mostProducers = 1024
	mostAtOnce    = 4 // requests
)

// Config says whether sources are configured here.
type Config struct {
	ManageSources bool `help:"Let sources be configured here: PUT and DELETE /api/v1/sources/{source}, and the status page. Producers have the last word (--allow-source). On a loopback address without --tokens whoever reaches it may; elsewhere those whose tokens may manage."`
}

// ErrAddress is returned when sources are to be configured at an address that others reach, whoever they are.
var ErrAddress = errors.New("sources can be configured on a loopback address, or by tokens, only")

// Validate returns [ErrAddress] when the gateway listens at more than a loopback address and asks for no token.
func (c Config) Validate(listen string, who access.Config) error {
	if c.ManageSources && who.Tokens == "" && !access.Loopback(listen) {
		return fmt.Errorf("%w: --http %s is reached by others: give 127.0.0.1:8000, or --tokens FILE, or leave --manage-sources out", ErrAddress, listen)
	}
	return nil
}

// Manager is where sources are configured. Its methods may be called from many goroutines.
type Manager struct {
	cfg  Config
	bus  *bus.Bus
	log  *slog.Logger
	busy chan struct{}

	mu        sync.Mutex
	sources   map[string]configured.Source
	producers map[string]producer // by instance
	reported  map[string]report   // by source, of those that are configured
}

type producer struct {
	allows []string
	at     time.Time
}

type report struct {
	producer string // instance
	status   flow.SourceStatus
}

// New makes a manager that knows of no source yet.
func New(cfg Config, b *bus.Bus, log *slog.Logger) *Manager {
	return &Manager{cfg: cfg, bus: b, log: log, busy: make(chan struct{}, mostAtOnce), producers: map[string]producer{}, reported: map[string]report{}}
}

// Run follows what is configured until ctx ends.
func (m *Manager) Run(ctx context.Context) { configured.Watch(ctx, m.bus, m.log, m.take) }

func (m *Manager) take(all map[string]configured.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources = all
	maps.DeleteFunc(m.reported, func(name string, _ report) bool { _, there := all[name]; return !there })
}

// AddAlive hears of a service.
func (m *Manager) AddAlive(alive flow.Alive) {
	if alive.Stage != "producer" {
		return
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.producers, func(_ string, p producer) bool { return now.Sub(p.at) > aliveFor })
	if _, known := m.producers[alive.Instance]; !known && len(m.producers) >= mostProducers {
		return
	}
	m.producers[alive.Instance] = producer{alive.Allows, now}
	for _, s := range alive.Sources {
		if _, there := m.sources[s.Source]; there {
			m.reported[s.Source] = report{alive.Instance, s}
		}
	}
}

// Managed says whether sources are configured here.
func (m *Manager) Managed() bool { return m.cfg.ManageSources }

// shows says whether somebody is told what is configured: where cameras are, and by which credentials they are asked, is not for all who
// see their pictures.
func shows(who *access.Caller) bool { return who.May(access.Manage) || who.May(access.Status) }

// List is what is configured now, as far as somebody sees it.
func (m *Manager) List(who *access.Caller) api.Configuration {
	m.mu.Lock()
	defer m.mu.Unlock()
	list, now, allowed := api.Configuration{Managed: m.cfg.ManageSources && who.May(access.Manage), Allowed: []string{}, Configured: []api.ConfiguredSource{}}, time.Now(), map[string]bool{}
	if !shows(who) {
		return list
	}
	for _, p := range m.producers {
		for _, pattern := range p.allows {
			allowed[pattern] = now.Sub(p.at) <= aliveFor || allowed[pattern]
		}
	}
	maps.DeleteFunc(allowed, func(_ string, alive bool) bool { return !alive })
	if who.May(access.Manage) || who.SeesAll() {
		list.Allowed = slices.AppendSeq(list.Allowed, maps.Keys(allowed))
		slices.Sort(list.Allowed)
	}
	for _, name := range slices.Sorted(maps.Keys(m.sources)) {
		if !who.Sees(name) {
			continue
		}
		list.Configured = append(list.Configured, m.source(name, m.sources[name], now))
	}
	return list
}

// Find is one that is configured, if somebody sees it.
func (m *Manager) Find(who *access.Caller, name string) (api.ConfiguredSource, bool) {
	if !shows(who) || !who.Sees(name) {
		return api.ConfiguredSource{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, there := m.sources[name]
	return m.source(name, s, time.Now()), there
}

// source is what is told of one, under m.mu.
func (m *Manager) source(name string, s configured.Source, now time.Time) api.ConfiguredSource {
	told := api.ConfiguredSource{
		Source: name, URI: address.Redact(s.URI), Credential: s.Credential, Settings: s.Settings, Changed: s.Changed,
		State: api.StateWaiting, Reason: "no producer has it: is one running whose --allow-source means it?",
	}
	r, there := m.reported[name]
	if p := m.producers[r.producer]; there && now.Sub(p.at) <= aliveFor && r.status.URI == told.URI { // else it was told of another address
		told.State, told.Reason, told.Producer = api.State(r.status.State), r.status.Reason, r.producer
	}
	return told
}

// Refusal is why nothing became of a request, with its code as HTTP knows it, and a word for programs.
type Refusal struct {
	Code   int
	Reason string
	Text   string
}

func (r Refusal) Error() string { return r.Text }

// Put has a source configured as body says, by somebody who may. made is false when there was one of its name. A [Refusal] is returned when it is not.
func (m *Manager) Put(ctx context.Context, who *access.Caller, name string, body []byte) (s api.ConfiguredSource, made bool, err error) {
	given, err := configured.ParseSource(body)
	if e := configured.ValidName(name); e != nil {
		err = e
	}
	if err := m.refusal(err); err != nil {
		return s, false, err
	}
	if !who.Sees(name) { // whether there is one or not
		return s, false, Refusal{403, reasons[configured.CodeNotAllowed], fmt.Sprintf("%s may not configure a source of this name", who.Name())}
	}
	answer, err := m.ask(ctx, configured.Request{Op: configured.OpPut, Name: name, Source: given})
	if no := (Refusal{}); errors.As(err, &no) && no.Code == int(configured.CodeTaken) && !who.SeesAll() {
		no.Text = "name: it is taken, or as many sources are configured as can be" // which it is would tell of others
		err = no
	}
	if err != nil {
		return s, false, err
	}
	s, there := m.Find(who, name)
	if !there || s.URI != address.Redact(given.URI) { // it has not come round yet
		s = api.ConfiguredSource{Source: name, URI: address.Redact(given.URI), Credential: given.Credential, Settings: given.Settings, Changed: time.Now().UTC(), State: api.StateWaiting}
	}
	if s.State == api.StateWaiting {
		s.Reason = "" // nobody has had the time yet
	}
	return s, answer.Code == configured.CodeMade, nil
}

// Delete ends what [Manager.Put] made, for somebody who may. A [Refusal] is returned when it does not.
func (m *Manager) Delete(ctx context.Context, who *access.Caller, name string) error {
	if err := m.refusal(configured.ValidName(name)); err != nil {
		return err
	}
	if !who.Sees(name) {
		return Refusal{404, reasons[configured.CodeNotFound], configured.ErrNotFound.Error()}
	}
	_, err := m.ask(ctx, configured.Request{Op: configured.OpDelete, Name: name})
	return err
}

// refusal is what is answered without asking anybody: err is why the request can't be meant.
func (m *Manager) refusal(err error) error {
	switch {
	case !m.cfg.ManageSources:
		return Refusal{403, "not_managed", "no source can be configured here: start the gateway with --manage-sources"}
	case err != nil:
		return Refusal{400, "source", strings.TrimPrefix(err.Error(), configured.ErrSource.Error()+": ")}
	}
	return nil
}

// reasons are the words for codes.
var reasons = map[configured.Code]string{
	configured.CodeBad: "source", configured.CodeNotAllowed: "not_allowed", configured.CodeNotFound: "not_configured", configured.CodeTaken: "taken",
}

func (m *Manager) ask(ctx context.Context, r configured.Request) (configured.Answer, error) {
	select {
	case m.busy <- struct{}{}:
		defer func() { <-m.busy }()
	default:
		return configured.Answer{}, Refusal{503, "busy", fmt.Sprintf("%d sources are being configured: try again", mostAtOnce)}
	}
	answer := configured.Ask(ctx, m.bus, r, m.ways())
	if answer.Code < configured.CodeBad {
		return answer, nil
	}
	return answer, Refusal{int(answer.Code), cmp.Or(reasons[answer.Code], "unavailable"), cmp.Or(answer.Error, "it was refused")}
}

// ways is how many kinds of producers answer: those that allow the same are one.
func (m *Manager) ways() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	ways, now := map[string]bool{}, time.Now()
	for _, p := range m.producers {
		if len(p.allows) > 0 && now.Sub(p.at) <= aliveFor {
			ways[strings.Join(slices.Sorted(slices.Values(p.allows)), " ")] = true
		}
	}
	return len(ways)
}
