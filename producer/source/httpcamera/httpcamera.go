// Package httpcamera takes pictures from cameras over HTTP: a stream of JPEGs, or one picture for each request. What turns out to
// be a film it hands on as bytes. It says in plain words why there is nothing.
package httpcamera

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
)

const (
	mostRedirects = 4
	maxHeaders    = 64 << 10 // bytes
	bufferBytes   = 64 << 10
)

// Kind is what there is at an address.
type Kind string

const (
	Stream   Kind = "MJPEG"    // JPEGs without end
	Snapshot Kind = "snapshot" // a picture for each request
	Film     Kind = "film"     // bytes of a film
)

// Config is how a camera is asked.
type Config struct {
	Address address.Address
	Timeout time.Duration // for each answer, up to its head
	Silence time.Duration // without a byte, after which the camera is lost
	Whole   time.Duration // without a whole picture, after which it is lost though there are bytes
	Every   time.Duration // between two requests for a snapshot
	Trust   bool          // take any certificate of https

	Allowed func(*url.URL) bool // whether it may redirect there; nil: anywhere
}

// Camera is a connection to a camera. Its methods are called by one goroutine at a time.
type Camera struct {
	cfg    Config
	client *http.Client
	login  login
	kind   Kind
	body   *body  // the answer that is being read; nil: none
	parts  parts  // of a Stream
	first  []byte // the picture that came with Open
	due    time.Time
	heard  time.Time // of the last picture
	failed int       // requests for a snapshot since then
}

// Open asks a camera, and looks at what it answers. [reason.ErrRefused], [reason.ErrNotFound], [reason.ErrNoVideo], [reason.ErrAnswer]
// or [reason.ErrNetwork] is returned when it gives no pictures.
func Open(ctx context.Context, cfg Config) (*Camera, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout,
		MaxResponseHeaderBytes: maxHeaders, TLSClientConfig: &tls.Config{InsecureSkipVerify: cfg.Trust}, DisableCompression: true,
	}
	c := &Camera{
		cfg: cfg, login: login{user: cfg.Address.User, password: cfg.Address.Password},
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Camera) open(ctx context.Context) error {
	c.due = time.Now().Add(c.cfg.Every)
	body, kind, boundary, err := c.ask(ctx)
	if err != nil {
		return err
	}
	c.body = body
	in := bufio.NewReaderSize(body, bufferBytes)
	body.rest = in
	defer body.whole(c.cfg.Whole)()
	if boundary {
		c.kind, c.parts = Stream, parts{in}
		return nil
	}
	start, err := in.Peek(512)
	if len(start) == 0 {
		return c.broken(err)
	}
	if c.kind, err = look(kind, start); err != nil {
		return err
	}
	switch c.kind {
	case Stream:
		c.parts = parts{in}
	case Snapshot:
		c.first, err = c.snapshot()
		return err
	}
	return nil
}

// Kind is what there is.
func (c *Camera) Kind() Kind { return c.kind }

// Authentication is how it was said who asks: none, basic or digest.
func (c *Camera) Authentication() string {
	if c.login.scheme == "" {
		return "none"
	}
	return c.login.scheme
}

// Next is the next picture of a Stream or a Snapshot, as a file. [reason.ErrSilent] is returned when nothing came for too long,
// [io.EOF] when a stream has ended, another error when the camera is lost.
func (c *Camera) Next(ctx context.Context) ([]byte, error) {
	if c.kind == Stream {
		defer context.AfterFunc(ctx, c.body.cancel)()
		defer c.body.whole(c.cfg.Whole)()
		data, err := c.parts.next()
		if err != nil {
			return nil, c.endOf(ctx, err)
		}
		return data, nil
	}
	if c.first != nil {
		data := c.first
		c.first, c.heard = nil, time.Now()
		return data, nil
	}
	for {
		if err := sleep(ctx, time.Until(c.due)); err != nil {
			return nil, err
		}
		c.due = time.Now().Add(c.cfg.Every)
		data, err := c.poll(ctx)
		switch {
		case err == nil:
			c.heard, c.failed = time.Now(), 0
			return data, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, reason.ErrRefused), errors.Is(err, reason.ErrNotFound):
			return nil, err
		}
		c.failed++
		if c.failed > 1 && time.Since(c.heard) > c.cfg.Silence { // Every may be longer than Silence
			return nil, err
		}
	}
}

// ErrTooLarge is returned when a film has more bytes than it may.
var ErrTooLarge = errors.New("too large")

// sink is what a film is written to.
type sink struct {
	io.Writer
	err error // why it can't be
}

func (s *sink) Write(p []byte) (n int, err error) {
	n, s.err = s.Writer.Write(p)
	return n, s.err
}

// Fetch writes the whole of a Film, and says how many bytes were written. [ErrTooLarge] is returned when it has more than most, and an
// error of to as it is.
func (c *Camera) Fetch(ctx context.Context, to io.Writer, most int64) (int64, error) {
	defer context.AfterFunc(ctx, c.body.cancel)()
	out := &sink{Writer: to}
	n, err := io.Copy(out, io.LimitReader(c.body.rest, most+1))
	switch {
	case out.err != nil:
		return n, out.err
	case err != nil:
		return n, c.endOf(ctx, err)
	case n > most:
		return n, ErrTooLarge
	}
	return n, nil
}

// Close ends the connection. Nothing of it stays.
func (c *Camera) Close() {
	c.drop()
	c.client.CloseIdleConnections()
}

func (c *Camera) drop() {
	if c.body != nil {
		c.body.Close()
		c.body = nil
	}
}

// poll asks for one picture.
func (c *Camera) poll(ctx context.Context) ([]byte, error) {
	body, _, _, err := c.ask(ctx)
	if err != nil {
		return nil, err
	}
	c.body, body.rest = body, body
	return c.snapshot()
}

// snapshot reads the answer as a whole.
func (c *Camera) snapshot() ([]byte, error) {
	defer c.drop()
	defer c.body.whole(c.cfg.Whole)()
	data, err := io.ReadAll(io.LimitReader(c.body.rest, maxPicture+1))
	if err == nil && len(data) > maxPicture {
		err = fmt.Errorf("%w: a picture of more than %d bytes", reason.ErrAnswer, maxPicture)
	}
	if err != nil {
		return nil, c.broken(err)
	}
	return data, nil
}

// ask asks for what is there, following redirects, and saying who asks where it is wanted, but to no other host. boundary is
// whether the answer is of many parts.
func (c *Camera) ask(ctx context.Context) (b *body, kind string, boundary bool, err error) {
	at := c.cfg.Address.URL()
	for range mostRedirects + 1 {
		answer, cancel, err := c.get(ctx, at)
		if err != nil {
			return nil, "", false, err
		}
		if answer.StatusCode >= 301 && answer.StatusCode <= 308 && answer.Header.Get("Location") != "" {
			to, err := at.Parse(answer.Header.Get("Location"))
			closeAnswer(answer, cancel)
			if err != nil || to.Scheme != "http" && to.Scheme != "https" || at.Scheme == "https" && to.Scheme == "http" {
				return nil, "", false, fmt.Errorf("%w: the camera redirects to what is no address, or to one without TLS", reason.ErrAnswer)
			}
			if c.cfg.Allowed != nil && !c.cfg.Allowed(to) {
				return nil, "", false, fmt.Errorf("%w: the camera redirects to an address that is not allowed", reason.ErrAnswer)
			}
			to.User = nil
			at = to
			continue
		}
		if err := c.status(answer.StatusCode, at); err != nil {
			closeAnswer(answer, cancel)
			return nil, "", false, err
		}
		if coding := answer.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			closeAnswer(answer, cancel)
			return nil, "", false, fmt.Errorf("%w: it sends its pictures coded as %.20q (Content-Encoding), which is not read", reason.ErrAnswer, coding)
		}
		kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
		if err != nil { // a boundary that is no token, perhaps
			kind, _, _ = strings.Cut(strings.ToLower(answer.Header.Get("Content-Type")), ";")
		}
		return &body{in: answer.Body, cancel: cancel, silence: c.cfg.Silence}, kind, strings.HasPrefix(kind, "multipart/"), nil
	}
	return nil, "", false, fmt.Errorf("%w: more than %d redirects", reason.ErrAnswer, mostRedirects)
}

// get asks once, and once more with the password when the camera wants it.
func (c *Camera) get(ctx context.Context, at *url.URL) (*http.Response, context.CancelFunc, error) {
	mine := c.own(at) && (c.login.user != "" || c.login.password != "")
	for try := 0; ; try++ {
		ctx, cancel := context.WithCancel(ctx)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			cancel()
			return nil, nil, reason.Network(err)
		}
		request.Header.Set("User-Agent", "spatialflow")
		if mine {
			c.login.authorize(request)
		}
		late := time.AfterFunc(c.cfg.Timeout, cancel)
		answer, err := c.client.Do(request)
		if !late.Stop() && err != nil {
			err = context.DeadlineExceeded
		}
		if err != nil {
			cancel()
			return nil, nil, reason.Network(err)
		}
		if answer.StatusCode == http.StatusUnauthorized && mine && try < 2 && c.login.challenged(answer.Header) {
			closeAnswer(answer, cancel)
			continue
		}
		return answer, cancel, nil
	}
}

// own says whether a URL is of the camera's own address, which alone gets the password.
func (c *Camera) own(at *url.URL) bool {
	own := c.cfg.Address.URL()
	return at.Scheme == own.Scheme && at.Host == own.Host
}

func closeAnswer(answer *http.Response, cancel context.CancelFunc) {
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10) // so that the connection is used again
	_ = answer.Body.Close()
	cancel()
}

// status is why an answer of this status gives nothing; nil: it does.
func (c *Camera) status(code int, at *url.URL) error {
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		switch {
		case !c.own(at): // no password was refused, so there is no account to lock
			return fmt.Errorf("%w: it redirects to another address, which does not get the password: give that one (HTTP status %d)", reason.ErrAnswer, code)
		case c.login.user == "" && c.login.password == "":
			return fmt.Errorf("%w: it wants both, http://user:password@…", reason.ErrRefused)
		}
		return fmt.Errorf("%w (HTTP status %d)", reason.ErrRefused, code)
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w (HTTP status %d)", reason.ErrNotFound, code)
	}
	return fmt.Errorf("%w: HTTP status %d", reason.ErrAnswer, code)
}

// endOf is why a stream gives no more.
func (c *Camera) endOf(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errPart):
		return fmt.Errorf("%w: %w", reason.ErrAnswer, err)
	}
	return c.broken(err)
}

func (c *Camera) broken(err error) error {
	switch {
	case c.body != nil && c.body.late.Load() != nil:
		return *c.body.late.Load()
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it closed the connection", reason.ErrNetwork)
	case errors.Is(err, reason.ErrAnswer):
		return err
	}
	return reason.Network(err)
}

// look says by its media type and its first bytes what an answer is. [reason.ErrNoVideo] is returned when it is nothing that has pictures.
func look(kind string, start []byte) (Kind, error) {
	has := func(at int, magic string) bool { return len(start) > at && bytes.HasPrefix(start[at:], []byte(magic)) }
	lower := bytes.ToLower(bytes.TrimLeft(start, "\xef\xbb\xbf \t\r\n"))
	switch {
	case has(0, "--") || bytes.HasPrefix(lower, []byte("content-")):
		return Stream, nil
	case has(0, "\xff\xd8\xff") && !strings.HasPrefix(kind, "video/"), has(0, "\x89PNG"), has(0, "BM") && strings.HasPrefix(kind, "image/"), has(8, "WEBP"):
		return Snapshot, nil
	case has(0, "\xff\xd8\xff"):
		return Stream, nil
	case bytes.HasPrefix(lower, []byte("#extm3u")), bytes.Contains(lower, []byte("<mpd")):
		return "", fmt.Errorf("%w: a playlist (HLS or DASH), which is not read; give the camera's RTSP address", reason.ErrNoVideo)
	case bytes.HasPrefix(lower, []byte("<")), strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "/json"), strings.HasSuffix(kind, "/xml"):
		return "", fmt.Errorf("%w: it answers with %.40q, a page; give the address of its pictures", reason.ErrNoVideo, kind)
	case strings.HasPrefix(kind, "video/"), has(4, "ftyp"), has(4, "moov"), has(4, "mdat"), has(0, "\x1a\x45\xdf\xa3"), has(8, "AVI "), has(0, "OggS"), has(0, "FLV\x01"),
		has(0, "\x00\x00\x01\xba"), has(0, "\x00\x00\x01\xb3"), has(0, "\x30\x26\xb2\x75"), has(0, "GIF8"), has(0, "\x47") && has(188, "\x47"):
		return Film, nil
	}
	return "", fmt.Errorf("%w: it answers with %.40q, which begins like no picture and no film", reason.ErrNoVideo, kind)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
