package standalone

import (
	"fmt"
	"os"
	"sync"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
)

// rtspServer hands on what one client publishes, over TCP, to those who ask for it.
type rtspServer struct {
	server gortsplib.Server

	mu        sync.Mutex
	stream    *gortsplib.ServerStream // nil while nobody publishes
	publisher *gortsplib.ServerSession
}

// serveRTSP is the program: it serves at an address until it is killed.
func serveRTSP(address string) {
	s := new(rtspServer)
	s.server = gortsplib.Server{Handler: s, RTSPAddress: address}
	fmt.Fprintln(os.Stderr, s.server.StartAndWait())
	os.Exit(1)
}

// answer is OK with the stream, or Not Found while there is none.
func (s *rtspServer) answer() (*base.Response, *gortsplib.ServerStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, s.stream, nil
}

func (s *rtspServer) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return s.answer()
}

func (s *rtspServer) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord { // it publishes
		return &base.Response{StatusCode: base.StatusOK}, nil, nil
	}
	return s.answer()
}

func (s *rtspServer) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := &gortsplib.ServerStream{Server: &s.server, Desc: ctx.Description}
	if err := stream.Initialize(); err != nil {
		return &base.Response{StatusCode: base.StatusInternalServerError}, err
	}
	s.stream, s.publisher = stream, ctx.Session
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (s *rtspServer) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (s *rtspServer) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	s.mu.Lock()
	stream := s.stream
	s.mu.Unlock()
	ctx.Session.OnPacketRTPAny(func(media *description.Media, _ format.Format, packet *rtp.Packet) {
		if err := stream.WritePacketRTP(media, packet); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (s *rtspServer) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil && ctx.Session == s.publisher {
		s.stream.Close()
		s.stream = nil
	}
}
