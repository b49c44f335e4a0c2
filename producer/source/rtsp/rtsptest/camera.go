// Package rtsptest is a camera for tests: a real RTSP server that misbehaves as it is told.
package rtsptest

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// Packets is which packets of an H.264 clip are sent.
type Packets int

// What a camera may send.
const (
	All          Packets = iota
	Fragments            // the first of each NAL unit that is larger than one: nothing becomes whole
	NoKeys               // of units that are no key frames
	NoParameters         // of all but the parameter sets
)

func (p Packets) sent(payload []byte) bool {
	const idr, sps, pps, stapA, fuA = 5, 7, 8, 24, 28
	kind := payload[0] & 0x1f
	switch p {
	case Fragments:
		return kind == fuA && payload[1]&0x80 != 0
	case NoKeys:
		if kind == fuA {
			kind = payload[1] & 0x1f
		}
		return kind != idr && kind != sps && kind != pps && kind != stapA
	case NoParameters:
		return kind != sps && kind != pps && kind != stapA
	}
	return true
}

// Camera is an RTSP server at an address that it keeps. Its fields are read when it starts.
type Camera struct {
	User, Password string
	Basic          bool            // instead of digest
	Formats        []format.Format // instead of the clip's: nothing is sent
	Packets        Packets
	Audio          bool             // it has no video
	TLS            *tls.Certificate // rtsps
	Redirect       string           // where it sends who asks for /live: a URL, or a path of its own

	t       testing.TB
	address string
	server  *gortsplib.Server
	stream  *gortsplib.ServerStream
	stop    chan struct{}
	sender  sync.WaitGroup

	mu       sync.Mutex
	clip     Clip
	changed  bool
	silent   bool
	noTCP    int
	jump     time.Duration
	attempts int
	wrong    int
	played   map[string]int // by transport
}

// New is a camera that is not started yet. It is stopped when the test ends.
func New(t testing.TB, clip Clip) *Camera {
	c := &Camera{t: t, clip: clip, played: map[string]int{}}
	t.Cleanup(c.Stop)
	return c
}

// Start listens: again at the same address, when it has been stopped.
func (c *Camera) Start() {
	c.t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) { // a port may be somebody else's for a while
		err := c.listen()
		if err == nil {
			break
		}
		if time.Since(begin) > time.Minute {
			c.t.Fatalf("start the RTSP server: %v", err)
		}
	}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: c.Formats}
	if c.Audio {
		media = &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}}}
	} else if len(c.Formats) == 0 {
		media.Formats = []format.Format{c.clip.format()}
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Medias: []*description.Media{media}}}
	if err := c.stream.Initialize(); err != nil {
		c.t.Fatalf("RTSP stream: %v", err)
	}
	c.stop = make(chan struct{})
	if len(c.Formats) == 0 && !c.Audio {
		c.sender.Go(func() { c.send(c.stream, media, c.stop) })
	}
}

func (c *Camera) listen() error {
	address, udp := c.address, evenPort(c.t)
	if address == "" {
		address = porttest.Address(c.t)
	}
	server := &gortsplib.Server{
		Handler: c, RTSPAddress: address, UDPRTPAddress: "127.0.0.1:" + strconv.Itoa(udp), UDPRTCPAddress: "127.0.0.1:" + strconv.Itoa(udp+1),
		AuthMethods: []auth.VerifyMethod{auth.VerifyMethodDigestMD5}, WriteQueueSize: 1 << 13,
	}
	if c.Basic {
		server.AuthMethods = []auth.VerifyMethod{auth.VerifyMethodBasic}
	}
	if c.TLS != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*c.TLS}}
		server.UDPRTPAddress, server.UDPRTCPAddress = "", ""
	}
	server.Listen = func(network, _ string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err == nil {
			address = l.Addr().String()
		}
		return l, err
	}
	if err := server.Start(); err != nil {
		return err
	}
	c.server, c.address = server, address
	return nil
}

// Stop ends it, and all its connections.
func (c *Camera) Stop() {
	if c.server == nil {
		return
	}
	close(c.stop)
	c.sender.Wait()
	c.stream.Close()
	c.server.Close()
	c.server = nil
}

// URL is where it is, with its user and password percent-encoded.
func (c *Camera) URL() string {
	u := url.URL{Scheme: "rtsp", Host: c.address, Path: "/live"}
	if c.TLS != nil {
		u.Scheme = "rtsps"
	}
	if c.User != "" {
		u.User = url.UserPassword(c.User, c.Password)
	}
	return u.String()
}

// Address is its host and port.
func (c *Camera) Address() string { return c.address }

// Silence has it send nothing, or again.
func (c *Camera) Silence(silent bool) { c.set(func() { c.silent = silent }) }

// RefuseTCP has it refuse so many of the next requests for TCP.
func (c *Camera) RefuseTCP(times int) { c.set(func() { c.noTCP = times }) }

// Change has it send another clip of the same codec.
func (c *Camera) Change(clip Clip) { c.set(func() { c.clip, c.changed = clip, true }) }

// Jump has its time stamps jump.
func (c *Camera) Jump(by time.Duration) { c.set(func() { c.jump += by }) }

// Attempts are how often it was asked for its description, and how often of those by who did not say the password.
func (c *Camera) Attempts() (all, wrong int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attempts, c.wrong
}

// Played is how often it began to play over a transport: TCP or UDP.
func (c *Camera) Played(transport string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.played[transport]
}

func (c *Camera) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *Camera) answer(conn *gortsplib.ServerConn, request *base.Request) (*base.Response, *gortsplib.ServerStream, error) {
	if c.User != "" && !c.knows(conn, request) {
		c.set(func() { c.wrong++ })
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

// knows says whether a request is of who knows the password. The library's server takes no basic password with a colon.
func (c *Camera) knows(conn *gortsplib.ServerConn, request *base.Request) bool {
	if header := request.Header["Authorization"]; c.Basic && len(header) == 1 {
		return header[0] == "Basic "+base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
	}
	return conn.VerifyCredentials(request, c.User, c.Password)
}

func (c *Camera) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	c.set(func() { c.attempts++ })
	if ctx.Path != "/live" {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	if to := c.Redirect; to != "" {
		if to[0] == '/' {
			to = "rtsp://" + c.address + to
		}
		return &base.Response{StatusCode: base.StatusMovedPermanently, Header: base.Header{"Location": base.HeaderValue{to}}}, nil, nil
	}
	return c.answer(ctx.Conn, ctx.Request)
}

func (c *Camera) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	refuse := false
	c.set(func() {
		if refuse = ctx.Transport.Protocol == gortsplib.ProtocolTCP && c.noTCP > 0; refuse {
			c.noTCP--
		}
	})
	if refuse {
		return &base.Response{StatusCode: base.StatusUnsupportedTransport}, nil, nil
	}
	return c.answer(ctx.Conn, ctx.Request)
}

func (c *Camera) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	c.set(func() { c.played[ctx.Session.Transport().Protocol.String()]++ })
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// send sends the clip again and again until stop.
func (c *Camera) send(stream *gortsplib.ServerStream, media *description.Media, stop chan struct{}) {
	ticker := time.NewTicker(time.Second / time.Duration(c.clip.FPS))
	defer ticker.Stop()
	c.mu.Lock()
	clip := c.clip
	c.mu.Unlock()
	encode := clip.encoder(c.t)
	step := uint32(90000 / clip.FPS)
	for i, stamp := 0, uint32(1<<32-90000); ; i, stamp = i+1, stamp+step { // it runs over after a second
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		if c.changed {
			c.changed, clip, i = false, c.clip, 0
		}
		silent := c.silent
		stamp += uint32(int64(c.jump/time.Millisecond) * 90)
		c.jump = 0
		c.mu.Unlock()
		if silent {
			continue
		}
		for _, packet := range encode(clip.units[i%len(clip.units)]) {
			if !c.Packets.sent(packet.Payload) {
				continue
			}
			packet.Timestamp = stamp + uint32(clip.shown(i%len(clip.units)))*step
			_ = stream.WritePacketRTP(media, packet) // a client that is slow is cut off
		}
	}
}

func evenPort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.LocalAddr().(*net.UDPAddr).Port
		_ = l.Close()
		if port%2 == 0 {
			return port
		}
	}
	t.Fatal("no even UDP port")
	return 0
}
