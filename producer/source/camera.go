package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/httpcamera"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp"
)

const (
	cameraTimeout = 5 * time.Second  // for a camera's answers
	cameraSilence = 5 * time.Second  // without a byte of the video, after which a camera is lost
	cameraWhole   = 30 * time.Second // without a whole picture, after which a camera over HTTP is lost though there are bytes
	snapshotEvery = time.Second      // between two requests for a snapshot, when no rate is set
)

// errWaits is returned when a source that is to wait for the pipeline turns out to be a camera.
var errWaits = fmt.Errorf("%w: a camera does not wait, so its mode is live", ErrConfig)

// openCamera opens a camera on the network, or the film that is at an address instead, and waits for its first picture.
// [ErrRefused] is returned when the password is refused, [ErrFilm] when the film is to blame, and errors of package reason: that one that is
// lost and one that does not come back say the same.
func openCamera(ctx context.Context, s Spec, o Options) (Source, Info, error) {
	open := openRTSP
	if strings.HasPrefix(s.camera.Scheme, "http") {
		open = openHTTP
	}
	source, info, err := open(ctx, s, o)
	if err != nil && ctx.Err() != nil {
		return nil, Info{}, ctx.Err()
	}
	return source, info, err
}

func openRTSP(ctx context.Context, s Spec, o Options) (Source, Info, error) {
	if s.Mode() == flow.ModeLossless {
		return nil, Info{}, errWaits
	}
	client, err := rtsp.Open(ctx, s.rtsp())
	if err != nil {
		return nil, Info{}, err
	}
	return openPlaying(ctx, client, s, o)
}

// openPlaying takes a client that plays over.
func openPlaying(ctx context.Context, client *rtsp.Client, s Spec, o Options) (Source, Info, error) {
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

// rtsp is how a camera is asked over RTSP.
func (s *Spec) rtsp() rtsp.Config {
	return rtsp.Config{Address: *s.camera, Timeout: cameraTimeout, Silence: cameraSilence, Whole: pictureWithin, Trust: s.Settings.Trust}
}

// http is how a camera is asked over HTTP.
func (s *Spec) http() httpcamera.Config {
	every := snapshotEvery
	if fps := s.Settings.FPS; fps > 0 {
		every = time.Duration(float64(time.Second) / fps)
	}
	return httpcamera.Config{Address: *s.camera, Timeout: cameraTimeout, Silence: cameraSilence, Whole: cameraWhole, Every: every, Trust: s.Settings.Trust, Allowed: s.redirects}
}

func openHTTP(ctx context.Context, s Spec, o Options) (Source, Info, error) {
	camera, err := httpcamera.Open(ctx, s.http())
	if err != nil {
		return nil, Info{}, err
	}
	return openAnswering(ctx, camera, s, o)
}

// openAnswering takes a camera that answers over.
func openAnswering(ctx context.Context, camera *httpcamera.Camera, s Spec, o Options) (Source, Info, error) {
	if camera.Kind() == httpcamera.Film {
		return openHTTPFilm(ctx, camera, s, o)
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
		info.FPS = 1 / s.http().Every.Seconds()
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

	width, height int      // of the last picture that has a size
	resized       *Picture // the first of another size, of which it is said that it comes; nil: none
}

// Next is the next picture. [ErrResized] is returned once before those of another size. One that is broken has none.
func (s *stills) Next(ctx context.Context) (Picture, error) {
	if p := s.resized; p != nil {
		s.resized = nil
		return *p, nil
	}
	data, arrived, err := s.next(ctx)
	if err != nil {
		return Picture{}, err
	}
	p := Picture{Captured: arrived.UTC()}
	if err := s.intake.Fill(&p, data); err != nil {
		p.Broken = err.Error()
	}
	p.Read = time.Since(arrived)
	if p.Width == 0 || p.Width == s.width && p.Height == s.height {
		return p, nil
	}
	first := s.width == 0
	if s.width, s.height = p.Width, p.Height; first {
		return p, nil
	}
	s.resized = &p
	return Picture{}, ErrResized
}

func (s *stills) Close() error {
	if s.resized != nil {
		s.resized.Release()
	}
	s.close()
	return nil
}

// maxFilm bounds a film that is fetched, in bytes.
const maxFilm = 4 << 30

const fetchStep = 16 << 20 // bytes after which it is said again how many there are

// openHTTPFilm fetches the film at an address into a file without a name, so that it can be read as any other: from its index, which
// may be at its end, and turned as it says. Nothing of it stays, however this process ends. [ErrFilm] is returned when it is too large,
// or no film that can be read, or can't be written.
func openHTTPFilm(ctx context.Context, camera *httpcamera.Camera, s Spec, o Options) (_ Source, _ Info, err error) {
	file, err := os.CreateTemp("", "spatialflow-film-")
	if err == nil {
		err = os.Remove(file.Name())
	}
	if err != nil {
		camera.Close()
		return nil, Info{}, fmt.Errorf("%w: fetch it: %w", ErrFilm, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	to := &fetching{to: file, told: o.Fetching}
	size, err := camera.Fetch(ctx, to, maxFilm)
	camera.Close()
	switch {
	case to.err != nil:
		return nil, Info{}, fmt.Errorf("%w: fetch it, %d bytes so far: %w", ErrFilm, size, to.err)
	case errors.Is(err, httpcamera.ErrTooLarge):
		return nil, Info{}, fmt.Errorf("%w: it has no end within %d GiB; give a stream's RTSP address", ErrFilm, maxFilm>>30)
	case err != nil:
		return nil, Info{}, fmt.Errorf("fetch the film, %d bytes so far: %w", size, err)
	case o.Fetching != nil:
		o.Fetching("")
	}
	film, info, err := openFilm(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()), s.Name, s.Settings, o.Film)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w of %d bytes: %w", ErrFilm, size, err)
	}
	return &fetched{film, file}, info, nil
}

// fetching is what a film is written to while it is fetched, which says how far that is.
type fetching struct {
	to   io.Writer
	told func(note string) // nil: nobody
	size int64
	next int64 // bytes of which is told next
	err  error // why nothing more can be written
}

func (f *fetching) Write(p []byte) (int, error) {
	if f.told != nil && f.size >= f.next {
		f.told(fmt.Sprintf("fetching the film, %d MiB of at most %d GiB", f.size>>20, maxFilm>>30))
		f.next = f.size + fetchStep
	}
	n, err := f.to.Write(p)
	f.size, f.err = f.size+int64(n), err
	return n, err
}

// fetched is a film with the file that it is read from.
type fetched struct {
	Source
	file io.Closer
}

func (f *fetched) Close() error { return errors.Join(f.Source.Close(), f.file.Close()) }
