package callers_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/gateway/callers"
)

var quiet = slog.New(slog.DiscardHandler)

func newCallers(t testing.TB, cfg callers.Config) *callers.Callers {
	t.Helper()
	c, err := callers.New(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// from is a request of a peer, with headers, name, value, name, value…
func from(peer string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = peer
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

const proxy = "10.1.2.3:1"

func TestAddress(t *testing.T) {
	t.Parallel()
	c := newCallers(t, callers.Config{TrustedProxies: []string{"10.0.0.0/8", "fd00::/16", "192.0.2.7"}})
	const xff, hops = "X-Forwarded-For", "Forwarded"
	for name, test := range map[string]struct {
		request *http.Request
		want    string // empty: not understood
	}{
		"nobody between":              {from("203.0.113.9:1"), "203.0.113.9"},
		"IPv6: its /64":               {from("[2001:db8:1:2:3:4:5:6%eth0]:1"), "2001:db8:1:2::"},
		"IPv4 in IPv6":                {from("[::ffff:203.0.113.9]:1"), "203.0.113.9"},
		"no address":                  {from("@"), ""},
		"who is no proxy":             {from("203.0.113.9:1", xff, "198.51.100.1", hops, "for=198.51.100.1"), "203.0.113.9"},
		"a proxy that says nothing":   {from(proxy), "10.1.2.3"},
		"a proxy":                     {from(proxy, xff, "198.51.100.1"), "198.51.100.1"},
		"a proxy by its address":      {from("192.0.2.7:1", xff, "198.51.100.1"), "198.51.100.1"},
		"a proxy of IPv6":             {from("[fd00::1]:1", xff, "2001:db8::1"), "2001:db8::"},
		"what the caller says itself": {from(proxy, xff, "127.0.0.1, 198.51.100.1"), "198.51.100.1"},
		"in lines":                    {from(proxy, xff, "127.0.0.1", xff, "198.51.100.1", xff, "10.9.9.9"), "198.51.100.1"},
		"proxies":                     {from(proxy, xff, "1.1.1.1,198.51.100.1 , 10.2.2.2,10.3.3.3"), "198.51.100.1"},
		"proxies only":                {from(proxy, xff, "10.2.2.2, 10.3.3.3"), "10.2.2.2"},
		"with ports":                  {from(proxy, xff, "198.51.100.1:4711"), "198.51.100.1"},
		"in brackets":                 {from(proxy, xff, "[2001:db8::1]:4711"), "2001:db8::"},
		"in brackets, no port":        {from(proxy, xff, "[2001:db8::1]"), "2001:db8::"},
		"nonsense":                    {from(proxy, xff, "198.51.100.1, unknown"), "10.1.2.3"},
		"nonsense behind a proxy":     {from(proxy, xff, "198.51.100.1, unknown, 10.2.2.2"), "10.2.2.2"},
		"empty":                       {from(proxy, xff, ""), "10.1.2.3"},
		"many":                        {from(proxy, xff, "198.51.100.1"+strings.Repeat(", 10.2.2.2", 40)), "10.2.2.2"},

		"RFC 7239":                  {from(proxy, hops, `for=198.51.100.1`), "198.51.100.1"},
		"RFC 7239, in full":         {from(proxy, hops, `for=1.1.1.1, For="[2001:db8:cafe::17]:4711";proto=https;by=203.0.113.43;host="a, b; \"c\""`), "2001:db8:cafe::"},
		"RFC 7239, proxies":         {from(proxy, hops, `for=198.51.100.1;by=_x`, hops, `for=10.2.2.2`), "198.51.100.1"},
		"RFC 7239, hidden":          {from(proxy, hops, `for=198.51.100.1, for=_gazonk, for=10.2.2.2`), "10.2.2.2"},
		"RFC 7239, unknown":         {from(proxy, hops, `for=198.51.100.1, for=unknown`), "10.1.2.3"},
		"RFC 7239, nobody":          {from(proxy, hops, `for=198.51.100.1, proto=https`), "10.1.2.3"},
		"RFC 7239, nonsense":        {from(proxy, hops, `for=198.51.100.1, for="x`), "10.1.2.3"},
		"RFC 7239, twice":           {from(proxy, hops, `for=198.51.100.1;for=198.51.100.2`), "10.1.2.3"},
		"RFC 7239, long":            {from(proxy, hops, `for=198.51.100.1;x="`+strings.Repeat("y", 5000)+`"`), "10.1.2.3"},
		"both alike":                {from(proxy, xff, "198.51.100.1", hops, "for=198.51.100.1"), "198.51.100.1"},
		"both, one of them written": {from(proxy, xff, "198.51.100.1", hops, "for=198.51.100.2"), "10.1.2.3"},
	} {
		got := c.Address(test.request)
		if test.want == "" && got.IsValid() || test.want != "" && got.String() != test.want {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

// Who comes through a proxy that nobody named is told in the log, once: all who come through it count as one.
func TestProxyThatIsNotNamed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c, err := callers.New(callers.Config{}, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Enter(from("127.0.0.1:1", "X-Forwarded-For", "198.51.100.1")); err != nil {
			t.Error(err)
		}
		c.Address(from(proxy, "Forwarded", "for=198.51.100.1"))
	}
	if said := out.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "--trusted-proxies") || !strings.Contains(said, "127.0.0.1") {
		t.Errorf("the log says %q", said)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for flag, cfg := range map[string]callers.Config{
		"--client-connections":        {Connections: -1},
		"--client-requests":           {Requests: -1},
		"--client-bytes":              {Bytes: -1},
		`--trusted-proxies "proxies"`: {TrustedProxies: []string{"proxies"}},
		"everybody":                   {TrustedProxies: []string{"0.0.0.0/0"}},
	} {
		if err := cfg.Validate(); !errors.Is(err, callers.ErrConfig) || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	for _, text := range []string{`for=198.51.100.1`, `for="[2001:db8::1]:4711";proto=https, for=unknown`, `for="a\"b`, `;,;for=,`, `198.51.100.1, [::1]:2`} {
		f.Add(text, text)
	}
	c := newCallers(f, callers.Config{TrustedProxies: []string{"10.0.0.0/8"}})
	peer := netip.MustParseAddr("10.1.2.3")
	f.Fuzz(func(t *testing.T, list, hops string) {
		// What comes before what a proxy wrote changes nothing, whatever it is.
		if got := c.Address(from(proxy, "X-Forwarded-For", list, "X-Forwarded-For", "198.51.100.1")); got.String() != "198.51.100.1" {
			t.Errorf("X-Forwarded-For %q, 198.51.100.1: %v", list, got)
		}
		if got := c.Address(from(proxy, "Forwarded", hops, "Forwarded", "for=198.51.100.1")); got.String() != "198.51.100.1" && got != peer {
			t.Errorf("Forwarded %q, for=198.51.100.1: %v", hops, got)
		}
		c.Address(from(proxy, "X-Forwarded-For", list, "Forwarded", hops))
	})
}
