// Package callers says who calls the gateway, behind proxies too, and how much of it one caller may have.
package callers

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// ErrConfig is returned when a setting makes no sense.
var ErrConfig = errors.New("bad setting of callers")

// Config is the settings of who calls, and of what one of them may have. An address of a caller is an IPv4 address, or the /64 of an IPv6
// one.
type Config struct {
	TrustedProxies []string `placeholder:"CIDR" help:"Addresses of the proxies before the gateway, as 10.0.0.0/8: by what they say in X-Forwarded-For or Forwarded callers are told apart. Nobody else is believed."`
	Connections    int      `name:"client-connections" default:"200" help:"Viewers, streams and other requests at once of one address; more are answered 429. 0: no limit. There is none for this machine."`
	Requests       float64  `name:"client-requests" default:"200" help:"Requests a second of one address, a websocket being one, after twice as many at once; more are answered 429. 0: no limit. There is none for this machine."`
	Bytes          int64    `name:"client-bytes" default:"0" help:"Bytes a second that one viewer is sent; one that wants more gets fewer scenes, the newest ones, or smaller pictures if it takes those. 0: no limit."`
}

// Validate returns [ErrConfig], naming the flag, when a setting makes no sense.
func (c Config) Validate() error {
	for flag, value := range map[string]float64{
		"client-connections": float64(c.Connections), "client-requests": c.Requests, "client-bytes": float64(c.Bytes),
	} {
		if value < 0 || math.IsNaN(value) || math.IsInf(value, 0) {
			return fmt.Errorf("%w: --%s %v: want 0 or more", ErrConfig, flag, value)
		}
	}
	_, err := c.proxies()
	return err
}

// proxies are the networks of the trusted proxies.
func (c Config) proxies() (networks []netip.Prefix, err error) {
	for _, text := range c.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if address, one := netip.ParseAddr(text); one == nil {
			network, err = address.Prefix(address.BitLen())
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: --trusted-proxies %.80q is no network like 10.0.0.0/8", ErrConfig, text)
		case network.Bits() == 0:
			return nil, fmt.Errorf("%w: --trusted-proxies %s is everybody, who could then call himself what he likes: name the networks of the proxies", ErrConfig, text)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// Callers are those who call. It is safe for many goroutines.
type Callers struct {
	cfg     Config
	log     *slog.Logger
	proxies []netip.Prefix
	table   *table
	strange sync.Once // a proxy that is not trusted was told of
}

// New makes callers of whom nobody is known yet. [ErrConfig] is returned when a setting makes no sense.
func New(cfg Config, log *slog.Logger) (*Callers, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	proxies, err := cfg.proxies()
	if err != nil {
		return nil, err
	}
	return &Callers{cfg: cfg, log: log, proxies: proxies, table: newTable(cfg.Connections, cfg.Requests, mostAddresses)}, nil
}

// Address is whom a request counts for: the IPv4 address of who calls, or the first address of the /64 of an IPv6 one, which is one
// household's or one machine's. What is forwarded is believed of trusted proxies alone: the last address that is none of theirs.
// The zero address is one that is not understood.
func (c *Callers) Address(r *http.Request) netip.Addr {
	peer := peerOf(r)
	if !c.trusted(peer) {
		if len(r.Header["X-Forwarded-For"]) > 0 || len(r.Header["Forwarded"]) > 0 {
			c.strange.Do(func() {
				c.log.Warn("calls come through a proxy that --trusted-proxies does not name: all who come through it count as one, and on this machine have no limit", "address", peer)
			})
		}
		return telemetry.Client(peer)
	}
	said, hops := r.Header["X-Forwarded-For"], r.Header["Forwarded"]
	switch {
	case len(hops) == 0:
		return telemetry.Client(c.last(peer, listed(said)))
	case len(said) == 0:
		return telemetry.Client(c.last(peer, forwarded(hops)))
	}
	// A proxy writes one of them and lets the other one pass, which anybody may have written: it is not told which.
	one, other := c.last(peer, listed(said)), c.last(peer, forwarded(hops))
	if one != other {
		return telemetry.Client(peer)
	}
	return telemetry.Client(one)
}

// last is the last address before the gateway, from peer on backwards, that is no trusted proxy's.
func (c *Callers) last(peer netip.Addr, before func(yield func(netip.Addr) bool)) netip.Addr {
	last := peer
	for address := range before {
		last = address
		if !c.trusted(address) {
			break
		}
	}
	return last
}

func (c *Callers) trusted(address netip.Addr) bool {
	return slices.ContainsFunc(c.proxies, func(network netip.Prefix) bool { return network.Contains(address) })
}

func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return plain(peer.Addr())
}

// Refusal is why a caller has to wait.
type Refusal struct {
	Reason string // for programs, and for spatialflow_refused_total
	Text   string
	After  time.Duration // at least a second
}

func (r Refusal) Error() string { return r.Text }

// Reasons of refusals.
const (
	ReasonConnections = "client_connections"
	ReasonRequests    = "client_requests"
)

// Enter begins a request, which leave ends. A [Refusal] is returned, and nothing begun, when its caller has had enough for now.
func (c *Callers) Enter(r *http.Request) (leave func(), err error) {
	address := c.Address(r)
	if peer := peerOf(r); peer.IsLoopback() && !c.trusted(peer) {
		return func() {}, nil
	}
	leave, after, enough := c.table.enter(address, time.Now())
	switch {
	case enough:
		return nil, Refusal{ReasonConnections, fmt.Sprintf("%s has %d requests open, viewers and streams among them; more are not taken", address, c.cfg.Connections), 5 * time.Second}
	case after > 0:
		return nil, Refusal{ReasonRequests, fmt.Sprintf("%s asks more than %v times a second", address, c.cfg.Requests), max(after, time.Second)}
	}
	return leave, nil
}

// plain is an address as it is compared: an IPv4 address is none of IPv6, and no address has a zone.
func plain(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }

// parse reads an address as proxies write it: with a port or without, in brackets or not.
func parse(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if address, err := netip.ParseAddr(text); err == nil {
		return plain(address), true
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return plain(both.Addr()), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			if address, err := netip.ParseAddr(inner); err == nil {
				return plain(address), true
			}
		}
	}
	return netip.Addr{}, false
}
