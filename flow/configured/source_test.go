package configured_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/configured"
)

func TestParseSource(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		says string // empty: it is one
	}{
		"a camera":              {`{"uri":"rtsp://10.0.0.7/stream?profile=2","credential":"front-door","settings":{"fps":10,"max_side":1280,"verify":false}}`, ""},
		"a camera by its name":  {`{"uri":"RTSPS://cam:322/live"}`, ""},
		"a street":              {`{"uri":"street:?seed=7&fps=30"}`, ""},
		"nothing":               {``, "it is empty"},
		"no address":            {`{}`, "uri: it is missing"},
		"not JSON":              {`uri=rtsp://h/s`, "invalid character"},
		"a list":                {`[]`, "malformed"},
		"a number":              {`{"uri":7}`, "uri: a JSON number is no text"},
		"a word for a number":   {`{"uri":"rtsp://h/s","settings":{"fps":"ten"}}`, "settings.fps: a JSON string is no number"},
		"a fraction":            {`{"uri":"rtsp://h/s","settings":{"max_side":1.5}}`, "settings.max_side"},
		"an unknown key":        {`{"uri":"rtsp://h/s","password":"S3cret"}`, `unknown field "password"`},
		"an unknown setting":    {`{"uri":"rtsp://h/s","settings":{"mode":"lossless"}}`, `unknown field "mode"`},
		"more behind it":        {`{"uri":"rtsp://h/s"}{}`, "more than one"},
		"its time":              {`{"uri":"rtsp://h/s","changed":"2026-01-01T00:00:00Z"}`, "changed: it is told"},
		"a password":            {`{"uri":"rtsp://admin:S3cret@h/s"}`, "uri: it holds a user or a password"},
		"a password with a /":   {`{"uri":"rtsp://admin:S3cr/et@10.0.0.7/s"}`, "uri: it holds a user or a password"},
		"a user":                {`{"uri":"rtsp://S3cret@h/s"}`, "uri: it holds a user or a password"},
		"a password in a path":  {`{"uri":"rtsp://h/user=admin_password=S3cret_channel=1"}`, "uri: it holds what looks like a password"},
		"a password in a query": {`{"uri":"http://h/cgi?usr=a&pwd=S3cret"}`, "uri: it holds what looks like a password"},
		"a variable":            {`{"uri":"http://h/${AWS_SECRET_ACCESS_KEY}"}`, "variable of the environment"},
		"settings behind #":     {`{"uri":"rtsp://h/s#fps=10"}`, "uri: it holds a #"},
		"a path":                {`{"uri":"/etc/passwd"}`, "uri: it is no camera on a network"},
		"a relative path":       {`{"uri":"films/a.mp4"}`, "uri: it is no camera on a network"},
		"a file":                {`{"uri":"file:///etc/passwd"}`, "uri: it is no camera on a network"},
		"a file, in capitals":   {`{"uri":"FILE://localhost/etc/passwd"}`, "uri: it is no camera on a network"},
		"a device":              {`{"uri":"/dev/video0"}`, "uri: it is no camera on a network"},
		"a device by number":    {`{"uri":"0"}`, "uri: it is no camera on a network"},
		"another scheme":        {`{"uri":"rtmp://h/s"}`, "uri: it is no camera on a network"},
		"no host":               {`{"uri":"rtsp:///s"}`, "no host"},
		"a bad port":            {`{"uri":"rtsp://h:99999/s"}`, "no host"},
		"a blank":               {`{"uri":"rtsp://h/a b"}`, "blanks"},
		"a line's end":          {`{"uri":"rtsp://h/a\r\nX-Header: 1"}`, "blanks"},
		"a zero byte":           {`{"uri":"rtsp://h/a\u0000"}`, "blanks"},
		"a very long one":       {`{"uri":"rtsp://h/` + strings.Repeat("a", 1024) + `"}`, "at most 1024"},
		"a credential in full":  {`{"uri":"rtsp://h/s","credential":"admin:S3cret"}`, "credential: it is a name"},
		"a street's credential": {`{"uri":"street:","credential":"door"}`, "credential: only cameras"},
		"a negative rate":       {`{"uri":"rtsp://h/s","settings":{"fps":-1}}`, "settings.fps"},
		"a great quality":       {`{"uri":"rtsp://h/s","settings":{"quality":101}}`, "settings.quality"},
		"64 KiB":                {`{"uri":"` + strings.Repeat(" ", 64<<10) + `"}`, "at most 65536"},
	} {
		s, err := configured.ParseSource([]byte(test.body))
		switch {
		case test.says == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.says != "" && (!errors.Is(err, configured.ErrSource) || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: %v, want %q", name, err, test.says)
		case err != nil && strings.Contains(err.Error(), "S3cr"):
			t.Errorf("%s: the error tells a password: %v", name, err)
		case test.says == "" && s.URI == "":
			t.Errorf("%s: %+v", name, s)
		}
	}
	for name, ok := range map[string]bool{"yard": true, "a_b-1": true, "": false, "a.b": false, "*": false, ">": false, "../x": false, "predict-x": false, strings.Repeat("a", 65): false} {
		if err := configured.ValidName(name); (err == nil) != ok {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestParseRequest(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{
		`{"version":1,"op":"put","name":"yard","source":{"uri":"rtsp://h/s"}}`:              nil,
		`{"version":1,"op":"delete","name":"yard","later":"than this program"}`:             nil,
		`{"version":2,"op":"put","name":"yard","source":{"uri":"rtsp://h/s"}}`:              configured.ErrNewer,
		`{"version":1,"op":"list","name":"yard"}`:                                           configured.ErrMessage,
		`{"version":1,"op":"put","name":"yard"}`:                                            configured.ErrSource,
		`{"version":1,"op":"put","name":"*","source":{"uri":"rtsp://h/s"}}`:                 configured.ErrSource,
		`{"version":1,"op":"put","name":"yard","source":{"uri":"file:///etc/passwd"}}`:      configured.ErrSource,
		`{"version":1,"op":"put","name":"yard","source":{"uri":"rtsp://${HOME}/s"}}`:        configured.ErrSource,
		`{"version":1,"op":"put","name":"yard","source":{"uri":"rtsp://u:p@h/s"}}`:          configured.ErrSource,
		strings.Repeat("[", 1<<15) + strings.Repeat("]", 1<<15):                             configured.ErrMessage,
		`{"version":1,"op":"put","name":"yard","source":` + strings.Repeat(`{"x":`, 20_000): configured.ErrMessage,
		"\xff\x00": configured.ErrMessage,
		"null":     configured.ErrNewer,
	} {
		if _, err := configured.ParseRequest([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%.80s: %v, want %v", body, err, want)
		}
	}
}

// Whatever is sent, what is taken holds no user, names nothing local, and can be sent on.
func FuzzParseSource(f *testing.F) {
	for _, seed := range []string{
		`{"uri":"rtsp://10.0.0.7/stream","credential":"a","settings":{"fps":1,"verify":true}}`, `{"uri":"street:?seed=7"}`, `{"uri":"http://h/a?b=c"}`,
		`{"uri":"rtsp://u:p@h/s"}`, `{"uri":"file:///x"}`, `{"uri":"RTSP://[::1]:9/%2e%2e"}`, `{}`, ``, `{"uri":"rtsp://h/${X}"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := configured.ParseSource(data)
		if err != nil {
			return
		}
		lower := strings.ToLower(s.URI)
		if strings.ContainsAny(s.URI, "@#\x00 \n") || strings.Contains(s.URI, "${") || !strings.HasPrefix(lower, "rtsp") && !strings.HasPrefix(lower, "http") && !strings.HasPrefix(s.URI, "street:") {
			t.Errorf("%q is taken", s.URI)
		}
		request, err := json.Marshal(configured.Request{Version: 1, Op: configured.OpPut, Name: "x", Source: s})
		if err != nil {
			t.Fatal(err)
		}
		again, err := configured.ParseRequest(request)
		if err != nil || again.Source.URI != s.URI {
			t.Errorf("%q becomes %q: %v", s.URI, again.Source.URI, err)
		}
	})
}

// Whatever comes as an answer or a request is read or refused.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"code":409,"error":"taken"}`))
	f.Add([]byte(`{"version":1,"op":"put","name":"yard","source":{"uri":"rtsp://h/s"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := configured.ParseAnswer(data); err == nil && (a.Code < 200 || a.Code > 599) {
			t.Errorf("%+v", a)
		}
		if r, err := configured.ParseRequest(data); err == nil && (configured.ValidName(r.Name) != nil || r.Op == configured.OpPut && r.Source.Validate() != nil) {
			t.Errorf("%+v", r)
		}
	})
}
