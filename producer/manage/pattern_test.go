package manage_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/manage"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for pattern, test := range map[string]struct{ yes, no []string }{
		"rtsp://*": {
			[]string{"rtsp://10.0.0.7/s", "RTSP://cam", "rtsp://a.b.c:8554/x/y?z=1", "rtsp://[fe80::1]:554/s"},
			[]string{"rtsps://10.0.0.7/s", "http://10.0.0.7/", "street:", "/etc/passwd", "rtsp:/etc/passwd", "file:///etc/passwd", "/dev/video0", "0", "rtsp://u:p@10.0.0.7/s", ""},
		},
		"rtsp*://10.0.0.*": {
			[]string{"rtsp://10.0.0.7/s", "rtsps://10.0.0.255:8322/"},
			[]string{"rtsp://10.0.1.7/s", "rtsp://10.0.0.7.evil.example/s", "rtsp://10.0.0.evil/s", "rtsp://evil/10.0.0.7", "http://10.0.0.7/", "rtsp://10.0.0.7@evil.example/s", "rtsp://evil.example#@10.0.0.7/s"},
		},
		"https://*.cameras.example:8443/live/*": {
			[]string{"https://yard.cameras.example:8443/live/a?b=c", "https://YARD.Cameras.Example:8443/live/"},
			[]string{
				"https://yard.cameras.example/live/a", "https://a.b.cameras.example:8443/live/a", "https://cameras.example:8443/live/a", "https://yard.cameras.example:8443/other",
				"https://yard.cameras.example:8443/live/../admin", "https://yard.cameras.example:8443/live/%2e%2E/admin", "https://yard.cameras.example:8443/live/..%2Fadmin", "https://yard.cameras.example.evil:8443/live/a",
			},
		},
		"http://cam/stream": {[]string{"http://cam/stream", "http://cam:8080/stream"}, []string{"http://cam/stream2", "http://cam/stream?a", "http://cam", "http://cam/x/stream"}},
		"http://cam/*/snap.jpg": {
			[]string{"http://cam/a/snap.jpg", "http://cam/a/b/snap.jpg"},
			[]string{"http://cam/restart?x=/snap.jpg", "http://cam/a/snap.jpg?x", "http://cam/a/..;/b/snap.jpg", "http://cam/a/%2e%2e;x=1/b/snap.jpg"},
		},
		"http://cam/get?id=*": {[]string{"http://cam/get?id=1", "http://cam/get?id="}, []string{"http://cam/get", "http://cam/get?x&id=1", "http://cam/get/?id=1"}},
		"http://cam:80":       {[]string{"http://cam/x", "http://cam:80"}, []string{"http://cam:8080/x"}},
		"http://[fe80::*]":    {[]string{"http://[fe80::1]/", "http://[FE80::1]:81/"}, []string{"http://[fe81::1]/", "http://[fe80::1:2]/"}},
		"*://*":               {[]string{"rtsp://a/", "https://b/"}, []string{"ftp://a/", "file://a/", "street:"}},
		"street:*":            {[]string{"street:", "street:?seed=7"}, []string{"rtsp://a/", "/x", "http://street:80/"}},
	} {
		p, err := manage.ParsePattern(pattern)
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		for _, uri := range test.yes {
			if !p.Match(uri) {
				t.Errorf("%s does not mean %s", pattern, uri)
			}
		}
		for _, uri := range test.no {
			if p.Match(uri) {
				t.Errorf("%s means %s", pattern, uri)
			}
		}
	}
	for _, pattern := range []string{"", "*", "rtsp://", "rtsp:*", "/dev/*", "/*", "file://*", "file:///*", "ftp://*", "rtsp://u:S3cret@h", "street:?seed=*", "rtsp://h:port/", "rtsp://h/#x", "rtsp://h h/"} {
		if _, err := manage.ParsePattern(pattern); !errors.Is(err, manage.ErrPattern) || strings.Contains(err.Error(), "S3cret") {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	many := make([]string, 17)
	for i := range many {
		many[i] = "rtsp://*"
	}
	if _, err := manage.ParsePatterns(many); !errors.Is(err, manage.ErrPattern) {
		t.Errorf("17 patterns: %v", err)
	}
	ps, err := manage.ParsePatterns([]string{"rtsp://a", "http://b"})
	if err != nil || !ps.Allow("http://b/x") || ps.Allow("http://a/x") || ps.AllowURL(&url.URL{Scheme: "http", Host: "c"}) || !ps.AllowURL(&url.URL{Scheme: "http", Host: "b"}) {
		t.Errorf("two patterns: %v", err)
	}
}

// Whatever is asked for, a pattern of one host means no other, and nothing local.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"rtsp://10.0.0.7/live/1", "rtsp://10.0.0.7@h/live", "rtsp://10.0.0.7:1/live/../x", "rtsp://10.0.0.7\\@h/", "RTSP://10.0.0.7?", "street:", "file:///10.0.0.7"} {
		f.Add(seed)
	}
	p, err := manage.ParsePattern("rtsp://10.0.0.7/live/*")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if !p.Match(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil { // what a URL's own parser can't read is asked for as host and path
			if !strings.HasPrefix(strings.ToLower(uri), "rtsp://10.0.0.7") {
				t.Errorf("%q is meant", uri)
			}
			return
		}
		if u.Scheme != "rtsp" || u.Hostname() != "10.0.0.7" || !strings.HasPrefix(u.Path, "/live/") || strings.Contains(u.Path, "/../") {
			t.Errorf("%q is meant", uri)
		}
	})
}
