package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/httpcamera"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp"
)

const (
	cameraTimeout = 5 * time.Second // for a camera's answers
	cameraSilence = 5 * time.Second // without a byte of the video, after which a camera is lost
	snapshotEvery = time.Second     // between two requests for a snapshot, when no rate is set
)

// errWaits is returned when a source that is to wait for the pipeline turns out to be a camera.
var errWaits = fmt.Errorf("%w: a camera does not wait, so its mode is live", ErrConfig)

// openCamera opens a camera on the network, or the film that is at an address instead, and waits for its first picture.
// [ErrOpen] is returned when there is none, with [ErrRefused] when that is for the password, and [ErrFilm] when the film is to blame.
func openCamera(ctx context.Context, s Spec, o Options) (Source, Info, error) {
	open := openRTSP
	if strings.HasPrefix(s.camera.Scheme, "http") {
		open = openHTTP
	}
	source, info, err := open(ctx, s, o)
	if err != nil && ctx.Err() != nil {
		return nil, Info{}, ctx.Err()
	}
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, s.URI, err)
	}
	return source, info, nil
}

func openRTSP(ctx context.Context, s Spec, o Options) (Source, Info, error) {
	if s.Mode() == flow.ModeLossless {
		return nil, Info{}, errWaits
	}
	client, err := rtsp.Open(ctx, rtsp.Config{Address: *s.camera, Timeout: cameraTimeout, Silence: cameraSilence, Trust: s.Settings.Trust})
	if err != nil {
		return nil, Info{}, err
	}
	info := Info{Camera: true, FPS: client.Info().FPS}
	if client.Info().Codec == coded.JPEG {
		next := func(ctx context.Context) ([]byte, time.Time, error) {
			u, err := client.Next(ctx)
			return u.Data, u.Arrived, err
		}
		return begun(ctx, &stills{next: next, close: client.Close, intake: Intake{s.Settings}}, info)
	}
	return begun(ctx, newDecoding(ctx, client, s.Settings, o), info)
}

func openHTTP(ctx context.Context, s Spec, o Options) (Source, Info, error) {
	every := snapshotEvery
	if fps := s.Settings.FPS; fps > 0 {
		every = time.Duration(float64(time.Second) / fps)
	}
	camera, err := httpcamera.Open(ctx, httpcamera.Config{
		Address: *s.camera, Timeout: cameraTimeout, Silence: cameraSilence, Every: every, Trust: s.Settings.Trust,
	})
	if err != nil {
		return nil, Info{}, err
	}
	if camera.Kind() == httpcamera.Film {
		return openHTTPFilm(ctx, camera, s, o.Film)
	}
	if s.Mode() == flow.ModeLossless {
		camera.Close()
		return nil, Info{}, errWaits
	}
	next := func(ctx context.Context) ([]byte, time.Time, error) {
		data, err := camera.Next(ctx)
		return data, time.Now(), err
	}
	info := Info{Camera: true}
	if camera.Kind() == httpcamera.Snapshot {
		info.FPS = 1 / every.Seconds()
	}
	return begun(ctx, &stills{next: next, close: camera.Close, intake: Intake{s.Settings}}, info)
}

// begun waits for the first picture of a camera: a session has pictures.
func begun(ctx context.Context, s Source, info Info) (Source, Info, error) {
	first, err := s.Next(ctx)
	if err != nil {
		return nil, Info{}, errors.Join(err, s.Close())
	}
	return &opened{Source: s, first: &first}, info, nil
}

// opened is a source whose first picture was taken when it was opened.
type opened struct {
	Source
	first *Picture // nil: it was handed on
}

func (o *opened) Next(ctx context.Context) (Picture, error) {
	if o.first == nil {
		return o.Source.Next(ctx)
	}
	first := *o.first
	o.first = nil
	return first, nil
}

func (o *opened) Close() error {
	if o.first != nil {
		o.first.Release()
	}
	return o.Source.Close()
}

// endless is what a source can't do that waits for nobody.
type endless struct{}

// Skip does nothing: what a camera sent in the meantime is gone.
func (endless) Skip(context.Context, uint64) error { return nil }

// Corrupt counts nothing: a picture that is broken says so itself.
func (endless) Corrupt() uint64 { return 0 }

// stills are a camera's pictures that come as files.
type stills struct {
	endless
	next   func(ctx context.Context) (data []byte, arrived time.Time, err error)
	close  func()
	intake Intake
}

func (s *stills) Next(ctx context.Context) (Picture, error) {
	data, arrived, err := s.next(ctx)
	if err != nil {
		return Picture{}, err
	}
	p := Picture{Captured: arrived.UTC()}
	if err := s.intake.Fill(&p, data); err != nil {
		p.Broken = err.Error()
	}
	p.Read = time.Since(arrived)
	return p, nil
}

func (s *stills) Close() error {
	s.close()
	return nil
}
