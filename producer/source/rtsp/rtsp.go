// Package rtsp takes coded pictures from cameras over RTSP, and says in plain words why one gives none.
package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
)

const (
	queued        = 64       // access units that may wait to be taken
	queuedBytes   = 16 << 20 // that they may have together
	mostRedirects = 4
)

// Config is how a camera is asked.
type Config struct {
	Address address.Address
	Timeout time.Duration // for each answer, the connection included
	Silence time.Duration // without a packet of the video, after which the camera is lost
	Whole   time.Duration // without a unit that can be decoded, though packets come, after which it is lost, too
	Trust   bool          // take any certificate of rtsps
}

// Info is what a camera says of its video.
type Info struct {
	Codec          coded.Codec
	Transport      string  // TCP or UDP
	Authentication string  // none, basic or digest
	Width, Height  int     // pixels; 0: it does not say
	FPS            float64 // 0: it does not say
}

// Client is one connection to a camera.
type Client struct {
	cfg       Config
	rtsp      *gortsplib.Client
	mu        sync.Mutex // guards info: keep-alives are requests too
	info      Info
	units     chan coded.Unit
	waiting   atomic.Int64 // bytes of units
	failed    chan error   // why the connection ended
	heard     atomic.Int64 // when the last packet came, in nanoseconds since 1970
	whole     atomic.Int64 // when the last unit came that can be decoded
	keyless   atomic.Bool  // units came since, but no key frame
	reached   atomic.Bool  // there was a connection
	overflown atomic.Uint64
	lost      atomic.Bool
	dials     int
	release   func() bool
}

// Open connects to a camera and has it play: over TCP, or, where the camera refuses that, over UDP. [reason.ErrRefused],
// [reason.ErrNotFound], [reason.ErrNoVideo], [reason.ErrCodec], [reason.ErrAnswer] or [reason.ErrNetwork] is returned when it does not.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	c, err := open(ctx, cfg, gortsplib.ProtocolTCP)
	if errors.Is(err, errTransport) {
		c, err = open(ctx, cfg, gortsplib.ProtocolUDP)
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return c, err
}

// errTransport is returned when a camera does not send in the way that it was asked to.
var errTransport = fmt.Errorf("%w: the camera sends neither over TCP nor over UDP", reason.ErrAnswer)

func open(ctx context.Context, cfg Config, protocol gortsplib.Protocol) (*Client, error) {
	u := (*base.URL)(cfg.Address.URL())
	if cfg.Address.User != "" || cfg.Address.Password != "" {
		u.User = url.UserPassword(cfg.Address.User, cfg.Address.Password)
	}
	c := &Client{cfg: cfg, units: make(chan coded.Unit, queued), failed: make(chan error, 1)}
	c.info.Transport, c.info.Authentication = protocol.String(), "none"
	c.rtsp = &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Protocol: &protocol, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout,
		UserAgent:         "spatialflow",
		DialContext:       c.dialPlain,
		DialTLSContext:    c.dialTLS,
		OnRequest:         c.onRequest,
		OnPacketsLost:     func(uint64) { c.lost.Store(true) },
		OnDecodeError:     func(error) { c.lost.Store(true) },
		OnTransportSwitch: func(error) {},
	}
	if err := c.rtsp.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", reason.ErrNetwork, err)
	}
	c.release = context.AfterFunc(ctx, c.rtsp.Close)
	if err := c.play(u); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// errRedirect is returned when a camera sends its client elsewhere: another host, or another port, does not get its password.
var errRedirect = fmt.Errorf("%w: the camera redirects to another address: give that one", reason.ErrAnswer)

// ports are where a camera listens that does not say where (RFC 2326, section 3.2).
var ports = map[string]string{"rtsp": "554", "rtsps": "322"}

func (c *Client) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	return c.dial(ctx, network, address, "rtsp")
}

func (c *Client) dial(ctx context.Context, network, address, scheme string) (net.Conn, error) {
	if c.dials++; c.dials > 1+mostRedirects {
		return nil, fmt.Errorf("%w: more than %d redirects", reason.ErrAnswer, mostRedirects)
	}
	u := c.cfg.Address.URL()
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	if scheme != u.Scheme || address != net.JoinHostPort(u.Hostname(), port) {
		return nil, errRedirect
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil && scheme == "rtsp" {
		c.reached.Store(true)
	}
	return conn, err
}

// dialTLS shakes hands within ctx, too.
func (c *Client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	plain, err := c.dial(ctx, network, address, "rtsps")
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, &tls.Config{ServerName: c.cfg.Address.URL().Hostname(), InsecureSkipVerify: c.cfg.Trust})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	c.reached.Store(true)
	return conn, nil
}

// onRequest notes how the client says who it is.
func (c *Client) onRequest(r *base.Request) {
	if header := r.Header["Authorization"]; len(header) > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.info.Authentication = "basic"
		if len(header[0]) > 6 && header[0][:6] == "Digest" {
			c.info.Authentication = "digest"
		}
	}
}

func (c *Client) play(u *base.URL) error {
	session, _, err := c.rtsp.Describe(u)
	if err != nil {
		return c.why(err)
	}
	media, video, err := choose(session)
	if err != nil {
		return err
	}
	read, err := c.reader(video)
	if err != nil {
		return err
	}
	if _, err := c.rtsp.Setup(session.BaseURL, media, 0, 0); err != nil {
		return c.whySetup(err)
	}
	c.rtsp.OnPacketRTP(media, video, read)
	if _, err := c.rtsp.Play(nil); err != nil {
		return c.why(err)
	}
	now := time.Now().UnixNano()
	c.heard.Store(now)
	c.whole.Store(now)
	go func() { c.failed <- c.rtsp.Wait() }()
	return nil
}

// Info is what the camera says of its video.
func (c *Client) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// Overflown is how many access units nobody took in time.
func (c *Client) Overflown() uint64 { return c.overflown.Load() }

// Next takes the next access unit. [reason.ErrSilent] or [reason.ErrNetwork] is returned when the camera is lost, [reason.ErrAnswer] when
// what it sends can't be decoded.
func (c *Client) Next(ctx context.Context) (coded.Unit, error) {
	timer := time.NewTimer(min(c.cfg.Silence, c.cfg.Whole))
	defer timer.Stop()
	for {
		select {
		case u := <-c.units:
			return c.taken(u), nil
		default:
		}
		select {
		case u := <-c.units:
			return c.taken(u), nil
		case <-ctx.Done():
			return coded.Unit{}, context.Cause(ctx)
		case err := <-c.failed:
			c.failed <- err
			return coded.Unit{}, c.why(err)
		case <-timer.C:
			left := c.cfg.Silence - time.Since(time.Unix(0, c.heard.Load()))
			if left <= 0 {
				return coded.Unit{}, fmt.Errorf("%w for %v", reason.ErrSilent, c.cfg.Silence)
			}
			whole := c.cfg.Whole - time.Since(time.Unix(0, c.whole.Load()))
			if whole <= 0 {
				return coded.Unit{}, c.whyNotWhole()
			}
			timer.Reset(min(left, whole))
		}
	}
}

// whyNotWhole is why no unit can be decoded, though packets come.
func (c *Client) whyNotWhole() error {
	what := "whole picture"
	if c.keyless.Load() {
		what = "key frame"
	}
	return fmt.Errorf("%w: the camera sends packets, but no %s within %v", reason.ErrAnswer, what, c.cfg.Whole)
}

// offer queues a unit, unless too much waits already.
func (c *Client) offer(u coded.Unit) bool {
	size := int64(len(u.Data))
	if waiting := c.waiting.Add(size); waiting <= queuedBytes || waiting == size {
		select {
		case c.units <- u:
			return true
		default:
		}
	}
	c.waiting.Add(-size)
	return false
}

// taken is a unit that no longer waits.
func (c *Client) taken(u coded.Unit) coded.Unit {
	c.waiting.Add(-int64(len(u.Data)))
	return u
}

// Close ends the connection, and waits until nothing of it runs.
func (c *Client) Close() {
	c.release()
	c.rtsp.Close()
}

// choose is the video of a session.
func choose(session *description.Session) (*description.Media, videoFormat, error) {
	var other []string
	for _, media := range session.Medias {
		if media.Type != description.MediaTypeVideo || media.IsBackChannel {
			continue
		}
		for _, f := range media.Formats {
			if readable(f) {
				return media, f, nil
			}
			name, _, _ := strings.Cut(f.RTPMap(), "/")
			other = append(other, name)
		}
	}
	if len(other) == 0 {
		return nil, nil, fmt.Errorf("%w in what the camera sends there", reason.ErrNoVideo)
	}
	return nil, nil, fmt.Errorf("%w: the camera sends %.80q; set it to H.264, H.265 or MJPEG", reason.ErrCodec, other)
}

// whySetup is why, where the camera may only refuse the transport.
func (c *Client) whySetup(err error) error {
	var (
		status  liberrors.ErrClientBadStatusCode
		udp     liberrors.ErrClientServerRequestedUDP
		invalid liberrors.ErrClientTransportHeaderInvalid
	)
	switch {
	case errors.As(err, &status) && c.whyStatus(status) == nil, errors.As(err, &udp), errors.As(err, &invalid):
		return errTransport
	}
	return c.why(err)
}

// why is an error of the library in plain words.
func (c *Client) why(err error) error {
	var (
		status liberrors.ErrClientBadStatusCode
		auth   liberrors.ErrClientAuthSetup
		late   liberrors.ErrClientRequestTimedOut
		tcp    liberrors.ErrClientTCPTimeout
		udp    liberrors.ErrClientUDPTimeout
		sdp    liberrors.ErrClientSDPInvalid
	)
	switch {
	case errors.Is(err, reason.ErrAnswer):
		return err
	case errors.As(err, &status):
		if err := c.whyStatus(status); err != nil {
			return err
		}
		return fmt.Errorf("%w: RTSP status %d", reason.ErrAnswer, status.Code)
	case errors.As(err, &auth):
		return fmt.Errorf("%w: it wants an authentication that is neither basic nor digest", reason.ErrRefused)
	case errors.As(err, &late):
		return reason.Network(context.DeadlineExceeded)
	case errors.As(err, &tcp), errors.As(err, &udp):
		return fmt.Errorf("%w for %v", reason.ErrSilent, c.cfg.Timeout)
	case errors.As(err, &sdp):
		return fmt.Errorf("%w: its description can't be read: %.200s", reason.ErrAnswer, sdp.Err.Error())
	}
	var (
		network net.Error
		ended   liberrors.ErrClientTerminated
	)
	if !c.reached.Load() || errors.As(err, &network) || errors.As(err, &ended) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return reason.Network(err)
	}
	return fmt.Errorf("%w: it is no RTSP that can be read: %.200s", reason.ErrAnswer, err.Error())
}

// whyStatus is nil when a status says nothing that is known.
func (c *Client) whyStatus(status liberrors.ErrClientBadStatusCode) error {
	switch status.Code {
	case base.StatusUnauthorized, base.StatusForbidden:
		if c.cfg.Address.User == "" && c.cfg.Address.Password == "" {
			return fmt.Errorf("%w: it wants both, rtsp://user:password@…", reason.ErrRefused)
		}
		return fmt.Errorf("%w (RTSP status %d)", reason.ErrRefused, status.Code)
	case base.StatusNotFound:
		return fmt.Errorf("%w (RTSP status 404)", reason.ErrNotFound)
	case base.StatusNotEnoughBandwidth:
		return fmt.Errorf("%w: the camera serves no more clients (RTSP status 453)", reason.ErrAnswer)
	}
	return nil
}
