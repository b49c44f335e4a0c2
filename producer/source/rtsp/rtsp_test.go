package rtsp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp/rtsptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "p@ss:w/rd#1%20"

func open(t *testing.T, uri string) (*rtsp.Client, error) {
	t.Helper()
	a, err := address.Parse(uri, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	c, err := rtsp.Open(t.Context(), rtsp.Config{Address: a, Timeout: 5 * time.Second, Silence: 5 * time.Second, Whole: time.Minute})
	if err == nil {
		t.Cleanup(c.Close)
	} else if strings.Contains(err.Error(), "p@ss") || strings.Contains(err.Error(), "w%2Frd") {
		t.Errorf("a secret is told: %v", err)
	}
	return c, err
}

func next(t *testing.T, c *rtsp.Client) coded.Unit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	u, err := c.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Units of every codec come, the first one a key frame, with digest and with basic, over TCP and, where that is refused, UDP.
func TestUnits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		codec string
		want  coded.Codec
		noTCP int
		basic bool
		with  string
	}{
		"H.264":           {codec: "h264", want: coded.H264, with: "digest"},
		"H.265":           {codec: "hevc", want: coded.H265, with: "digest"},
		"MJPEG":           {codec: "mjpeg", want: coded.JPEG, with: "digest"},
		"UDP":             {codec: "h264", want: coded.H264, noTCP: 1, with: "digest"},
		"basic":           {codec: "h264", want: coded.H264, basic: true, with: "basic"},
		"basic, with UDP": {codec: "h264", want: coded.H264, basic: true, noTCP: 1, with: "basic"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			camera := rtsptest.New(t, rtsptest.Encode(t, test.codec, 160, 96, 30))
			camera.User, camera.Password, camera.Basic = "admin", password, test.basic
			camera.Start()
			camera.RefuseTCP(test.noTCP)
			for _, uri := range []string{camera.URL(), "rtsp://admin:" + password + "@" + camera.Address() + "/live"} {
				c, err := open(t, uri)
				if err != nil {
					t.Fatal(err)
				}
				before := time.Duration(-1)
				for i := range 40 {
					u := next(t, c)
					if i == 0 && !u.Key {
						t.Error("the first unit is no key frame")
					}
					if test.want != coded.JPEG && (u.Width != 160 || u.Height != 96) {
						t.Errorf("unit %d says %dx%d", i, u.Width, u.Height)
					}
					if test.want == coded.JPEG && !strings.HasPrefix(string(u.Data), "\xff\xd8") {
						t.Errorf("unit %d is no JPEG: %.20q", i, u.Data)
					}
					if u.PTS <= before || u.PTS > 2*time.Minute {
						t.Errorf("unit %d is at %v, the one before at %v", i, u.PTS, before)
					}
					before = u.PTS
				}
				transport := "TCP"
				if test.noTCP > 0 {
					transport = "UDP"
				}
				if info := c.Info(); info.Codec != test.want || info.Transport != transport || info.Authentication != test.with {
					t.Errorf("%+v", info)
				}
				c.Close()
				camera.RefuseTCP(test.noTCP)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	clip := rtsptest.Encode(t, "h264", 64, 64, 10)
	camera := func(with func(*rtsptest.Camera)) *rtsptest.Camera {
		c := rtsptest.New(t, clip)
		c.User, c.Password = "admin", password
		if with != nil {
			with(c)
		}
		c.Start()
		return c
	}
	plain, gone := camera(nil), camera(nil)
	gone.Stop()
	certificate := selfSigned(t)
	web := answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	for name, test := range map[string]struct {
		uri  string
		want error
		says string
	}{
		"wrong password":     {strings.Replace(plain.URL(), "p%40ss", "p%40ssp", 1), reason.ErrRefused, "refuses the user or the password"},
		"no password":        {"rtsp://" + plain.Address() + "/live", reason.ErrRefused, "rtsp://user:password@"},
		"no such path":       {strings.Replace(plain.URL(), "/live", "/other", 1), reason.ErrNotFound, "404"},
		"refused":            {gone.URL(), reason.ErrNetwork, "connection refused"},
		"no such name":       {"rtsp://admin:p%40ss@no-such-camera.invalid/live", reason.ErrNetwork, "the name no-such-camera.invalid"},
		"no video":           {camera(func(c *rtsptest.Camera) { c.Audio = true }).URL(), reason.ErrNoVideo, "no video"},
		"VP9":                {camera(func(c *rtsptest.Camera) { c.Formats = []format.Format{&format.VP9{PayloadTyp: 96}} }).URL(), reason.ErrCodec, "VP9"},
		"not trusted":        {camera(func(c *rtsptest.Camera) { c.TLS = &certificate }).URL(), reason.ErrNetwork, "TLS certificate"},
		"no TLS there":       {"rtsps://" + web + "/live", reason.ErrNetwork, "TLS"},
		"redirect elsewhere": {camera(func(c *rtsptest.Camera) { c.Redirect = "rtsp://127.0.0.2:9/live" }).URL(), reason.ErrAnswer, "redirects"},
		"redirect to a port": {camera(func(c *rtsptest.Camera) { c.Redirect = plain.URL() }).URL(), reason.ErrAnswer, "redirects to another address"},
		"redirect to a path": {camera(func(c *rtsptest.Camera) { c.Redirect = "/other" }).URL(), reason.ErrNotFound, "404"},
		"redirects in rings": {camera(func(c *rtsptest.Camera) { c.Redirect = "/live" }).URL(), reason.ErrAnswer, "more than 4 redirects"},
		"a web server":       {"rtsp://admin:p%40ss@" + web + "/live", reason.ErrNetwork, ""},
		"a huge body":        {"rtsp://admin:p%40ss@" + answering(t, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 999999999\r\n\r\n") + "/live", reason.ErrAnswer, "Content-Length"},
		"endless headers":    {"rtsp://admin:p%40ss@" + answering(t, "RTSP/1.0 200 OK\r\n"+strings.Repeat("A: b\r\n", 5000)) + "/live", reason.ErrAnswer, "headers"},
		"nothing":            {"rtsp://admin:p%40ss@" + answering(t, "") + "/live", reason.ErrNetwork, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, test.uri)
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %v that says %q", err, test.want, test.says)
			}
		})
	}
}

// answering is the address of a server that gives everybody this answer, and closes the connection.
func answering(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// A camera that sends no more is lost, and not before.
func TestSilence(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 64, 64, 10))
	camera.Start()
	a, err := address.Parse(camera.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rtsp.Open(t.Context(), rtsp.Config{Address: a, Timeout: 5 * time.Second, Silence: 5 * time.Second, Whole: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 30 {
		next(t, c)
	}
	camera.Silence(true)
	for err = nil; err == nil; {
		_, err = c.Next(t.Context())
	}
	if !errors.Is(err, reason.ErrSilent) {
		t.Error(err)
	}
}

// A camera that sends packets of which no picture is made is lost, and says what lacks.
func TestNothingWhole(t *testing.T) {
	t.Parallel()
	clip := rtsptest.Encode(t, "h264", 640, 480, 10)
	for name, test := range map[string]struct {
		packets rtsptest.Packets
		says    string
	}{
		"first fragments": {rtsptest.Fragments, "no whole picture"},
		"no key frames":   {rtsptest.NoKeys, "no key frame"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			camera := rtsptest.New(t, clip)
			camera.Packets = test.packets
			camera.Start()
			a, err := address.Parse(camera.URL(), nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := rtsp.Open(t.Context(), rtsp.Config{Address: a, Timeout: 30 * time.Second, Silence: 30 * time.Second, Whole: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if u, err := c.Next(ctx); !errors.Is(err, reason.ErrAnswer) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("a unit of %d bytes, %v; want %q", len(u.Data), err, test.says)
			}
		})
	}
}

// A camera that is stopped is lost, and one whose clock jumps is not; the size of its pictures is noticed.
func TestChanges(t *testing.T) {
	t.Parallel()
	camera := rtsptest.New(t, rtsptest.Encode(t, "h264", 160, 96, 30))
	large := rtsptest.Encode(t, "h264", 320, 240, 30)
	camera.Start()
	c, err := open(t, camera.URL())
	if err != nil {
		t.Fatal(err)
	}
	first := next(t, c)
	for _, jump := range []time.Duration{-time.Hour, time.Hour, 9 * time.Hour} {
		camera.Jump(jump)
		before := next(t, c)
		for range 30 {
			u := next(t, c)
			if step := u.PTS - before.PTS; step <= 0 || step > 10*time.Second {
				t.Errorf("after a jump of %v, %v lie between two units", jump, step)
			}
			before = u
		}
	}
	camera.Change(large)
	for u := first; u.Width != 320 || u.Height != 240; {
		if u = next(t, c); u.Width != 160 && !(u.Key && u.Width == 320) {
			t.Fatalf("after a change of the size comes a unit of %dx%d, key %t", u.Width, u.Height, u.Key)
		}
	}
	camera.Stop()
	for err = nil; err == nil; {
		_, err = c.Next(t.Context())
	}
	if !errors.Is(err, reason.ErrNetwork) {
		t.Error(err)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
