package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spatial-flow/spatial-flow/producer/source/httpcamera"
)

// maxFilm bounds a film that is fetched, in bytes.
const maxFilm = 16 << 30

// openHTTPFilm fetches the film at an address into a file without a name, so that it can be read as any other: from its index, which
// may be at its end, and turned as it says. Nothing of it stays, however this process ends. [ErrFilm] is returned when it is too large,
// or no film that can be read.
func openHTTPFilm(ctx context.Context, camera *httpcamera.Camera, s Spec, how Film) (_ Source, _ Info, err error) {
	file, err := os.CreateTemp("", "spatialflow-film-")
	if err == nil {
		err = os.Remove(file.Name())
	}
	if err != nil {
		camera.Close()
		return nil, Info{}, fmt.Errorf("fetch the film: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	size, err := camera.Fetch(ctx, file, maxFilm)
	camera.Close()
	switch {
	case errors.Is(err, httpcamera.ErrTooLarge):
		return nil, Info{}, fmt.Errorf("%w: it has no end within %d GiB; give a stream's RTSP address", ErrFilm, maxFilm>>30)
	case err != nil:
		return nil, Info{}, fmt.Errorf("fetch the film, %d bytes so far: %w", size, err)
	}
	film, info, err := openFilm(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()), s.Settings, how)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w of %d bytes: %w", ErrFilm, size, err)
	}
	return &fetched{film, file}, info, nil
}

// fetched is a film with the file that it is read from.
type fetched struct {
	Source
	file io.Closer
}

func (f *fetched) Close() error { return errors.Join(f.Source.Close(), f.file.Close()) }
