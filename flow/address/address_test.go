package address_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/flow/address"
)

func environment(name string) (string, bool) {
	value, ok := map[string]string{"CAM_USER": "admin", "CAM_PW": "p@ss:w/rd#1%20", "CAM": "10.0.0.7:8554", "EMPTY": ""}[name]
	return value, ok
}

func TestParse(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]address.Address{
		"rtsp://10.0.0.7/live":                                {Scheme: "rtsp", Host: "10.0.0.7", Path: "/live"},
		"RTSP://cam":                                          {Scheme: "rtsp", Host: "cam"},
		"rtsp://u:p@h:554/s?a=b&c":                            {Scheme: "rtsp", Host: "h:554", Path: "/s?a=b&c", User: "u", Password: "p"},
		"rtsp://u@h/s":                                        {Scheme: "rtsp", Host: "h", Path: "/s", User: "u"},
		"rtsp://u:@h/s":                                       {Scheme: "rtsp", Host: "h", Path: "/s", User: "u"},
		"rtsp://:p@h/s":                                       {Scheme: "rtsp", Host: "h", Path: "/s", Password: "p"},
		"rtsp://u:p@[fe80::1]:554/s":                          {Scheme: "rtsp", Host: "[fe80::1]:554", Path: "/s", User: "u", Password: "p"},
		"rtsp://u:p:q@h/s":                                    {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p:q"},
		"rtsp://u:p@q@h/s":                                    {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p@q"},
		"rtsp://u:a@b/c@h/s":                                  {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "a@b/c"},
		"rtsp://u:p%2Fq@h/s":                                  {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p/q"},
		"rtsp://u:p@%2Fq@h/s":                                 {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p@/q"},
		"rtsp://u:100%@h/s":                                   {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "100%"},
		"rtsp://u:p/q@h/s":                                    {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p/q"},
		"rtsp://u:p?q@h/s":                                    {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p?q"},
		"rtsp://u:p#q=1@h/s":                                  {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "p#q=1"},
		"rtsp://u:p@ss:w/rd#1%20@h:554/s":                     {Scheme: "rtsp", Host: "h:554", Path: "/s", User: "u", Password: "p@ss:w/rd#1%20"},
		"rtsp://u:p%40ss%3Aw%2Frd%231%2520@h:554/s":           {Scheme: "rtsp", Host: "h:554", Path: "/s", User: "u", Password: "p@ss:w/rd#1%20"},
		"rtsp://${CAM_USER}:${CAM_PW}@${CAM}/s":               {Scheme: "rtsp", Host: "10.0.0.7:8554", Path: "/s", User: "admin", Password: "p@ss:w/rd#1%20"},
		"rtsp://u:%2F${EMPTY}$1@h/s":                          {Scheme: "rtsp", Host: "h", Path: "/s", User: "u", Password: "/$1"},
		"rtsp://admin:1234/5@h/s":                             {Scheme: "rtsp", Host: "h", Path: "/s", User: "admin", Password: "1234/5"},
		"rtsp://10.0.0.7:554/s?user=a@b.c":                    {Scheme: "rtsp", Host: "10.0.0.7:554", Path: "/s?user=a@b.c"},
		"rtsp://cam/live@1":                                   {Scheme: "rtsp", Host: "cam", Path: "/live@1"},
		"http://cam:81/stream#part":                           {Scheme: "http", Host: "cam:81", Path: "/stream"},
		"https://cam?action=stream":                           {Scheme: "https", Host: "cam", Path: "?action=stream"},
		"rtsp://h/user=admin_password=x_channel=1_stream.sdp": {Scheme: "rtsp", Host: "h", Path: "/user=admin_password=x_channel=1_stream.sdp"},
	} {
		got, err := address.Parse(uri, environment)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", uri, diff)
		}
		if u := got.URL(); u.Host != want.Host || u.User != nil {
			t.Errorf("%s has the URL %s", uri, u)
		}
	}
	for _, uri := range []string{"rtsp://", "rtsp://u:secret@", "rtsp://u:secret", "rtsp://u:secret@h:port/s", "rtsp://u:secret@h:99999/", "rtsp://u:secret@h:/", "rtsp://u:secret@a b/", "rtsp://${NONE}:secret@h/", "rtsp://u:secret${NONE}@h/", "rtsp://${PASS/"} {
		if a, err := address.Parse(uri, environment); !errors.Is(err, address.ErrAddress) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v", uri, a, err)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"rtsp://admin:p@ss/w@h:554/s?user=x":        "rtsp://h:554/s?…",
		"rtsp://admin:pw@h:554/s":                   "rtsp://h:554/s",
		"rtsp://admin@h/s":                          "rtsp://h/s",
		"rtsp://admin:S3cr/et@127.0.0.1:9/live":     "rtsp://127.0.0.1:9/live",
		"rtsp://admin:S3cr?et@127.0.0.1:9/live":     "rtsp://127.0.0.1:9/live",
		"rtsp://admin:S3cr#et=1@127.0.0.1:9/live":   "rtsp://127.0.0.1:9/live",
		"rtsp//admin:S3cret@127.0.0.1:9/live":       "rtsp//127.0.0.1:9/live",
		"rtsp:/admin:S3cret@127.0.0.1:9/live":       "rtsp:/127.0.0.1:9/live",
		"//admin:S3cret@h/live":                     "//h/live",
		"admin:S3cret@h/live":                       "h/live",
		"yard=rtsp://admin:S3cret@h/live":           "yard=rtsp://h/live",
		"rtsp://admin:S3cret/live":                  "rtsp://…",
		"rtsp://admin:S3cret":                       "rtsp://…",
		"rtsp:///admin:S3cret@h/x@y":                "rtsp://y",
		"rtsp://a@b://S3cret@h/s":                   "rtsp://h/s",
		"u@S3cret://x@h/s":                          "h/s",
		"rtsp://${USER}:${PW}@${CAM}:554/s":         "rtsp://${CAM}:554/s",
		"http://h/cgi?pwd=S3cret":                   "http://h/cgi?…",
		"http:/h/cgi?pwd=S3cret":                    "http:/h/cgi?pwd=…",
		"rtsp://h/user=a_password=S3cret_channel=1": "rtsp://h/user=a_password=…",
		"/home/me@work/a?b.avi":                     "/home/me@work/a?b.avi",
		"a@b.avi":                                   "a@b.avi",
		"street:?seed=7&fps=30":                     "street:?seed=7&fps=30",
		"file:///v/my walk.avi":                     "file:///v/my walk.avi",
		"rtsp://h/" + strings.Repeat("ä", 300):      "rtsp://h/" + strings.Repeat("ä", 122) + "…",
	} {
		if got := address.Redact(uri); got != want {
			t.Errorf("%s is shown as %s, want %s", uri, got, want)
		}
	}
}

// Whatever the password, and however the scheme is mistyped, nothing of it is shown, and it is what is parsed.
func FuzzPassword(f *testing.F) {
	for _, seed := range []string{"p@ss:w/rd#1%20", "a", "/", "?", "#x=1", "%2F", "${X}", "://", "@", "é", "[", "\x00", " "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		for _, head := range []string{"rtsp://", "rtsp:/", "rtsp//", "rtsp:", "http://", ""} {
			if got, want := address.Redact(head+"u:Q"+password+"Q@h/s"), "h/s"; !strings.HasSuffix(got, want) || strings.Contains(got, "Q") {
				t.Errorf("%q behind %q is shown as %q", password, head, got)
			}
		}
		if strings.ContainsAny(password, "%$") {
			return
		}
		a, err := address.Parse("rtsp://u:"+password+"@h/s", environment)
		if err != nil || a.Password != password || a.Host != "h" {
			t.Errorf("%q is parsed as %+v, %v", password, a, err)
		}
	})
}

func TestRedactText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"unexpected argument rtsp://admin:S3cr/et@127.0.0.1:9/live":              "unexpected argument rtsp://127.0.0.1:9/live",
		`bad: "rtsp://admin:S3cr et@h/s": write street:?seed=7&fps=30`:           `bad: "rtsp://h/s": write street:?seed=7&fps=30`,
		"stat rtsp//admin:S3cr@h/s: no such file":                                "stat rtsp//h/s: no such file",
		"one\nGet \"http://a:S3cr@h/x\": refused (is it there?)\nme@work: hello": "one\nGet \"http://h/x\": refused (is it there?)\nhello",
		"nothing to hide: http://127.0.0.1:8000/x?y=1, 12:30":                    "nothing to hide: http://127.0.0.1:8000/x?y=1, 12:30",
	} {
		if got := address.RedactText(text); strings.Contains(got, "S3cr") || got != want && !strings.Contains(text, "me@work") {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
