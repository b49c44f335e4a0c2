package source

import (
	"context"
	"fmt"
	"io"
	"time"

	"gocv.io/x/gocv"
)

// video reads a camera's pictures.
type video struct {
	capture  *gocv.VideoCapture
	mats     mats
	settings Settings
}

// newVideo takes a capture over. [ErrOpen] is returned, and the capture closed, when its pictures have no usable size.
func newVideo(capture *gocv.VideoCapture, name string, s Settings) (*video, error) {
	width, height := capture.Get(gocv.VideoCaptureFrameWidth), capture.Get(gocv.VideoCaptureFrameHeight)
	if width < 1 || height < 1 || width*height > maxPixels {
		_ = capture.Close()
		return nil, fmt.Errorf("%w: %s has frames of %.0fx%.0f, want 1 to %d pixels", ErrOpen, name, width, height, maxPixels)
	}
	return &video{capture: capture, settings: s}, nil
}

func (v *video) Next(ctx context.Context) (Picture, error) {
	if err := ctx.Err(); err != nil {
		return Picture{}, err
	}
	p := Picture{Captured: time.Now().UTC()}
	mat := v.mats.get()
	if !v.capture.Read(&mat) || mat.Empty() {
		v.mats.put(mat)
		return Picture{}, io.EOF
	}
	p.Read = time.Since(p.Captured)
	p.Width, p.Height = v.settings.fit(mat.Cols(), mat.Rows())
	p.Pixels = decoded{mat, &v.mats, v.settings, nil}
	return p, nil
}

func (v *video) Skip(ctx context.Context, n uint64) error {
	const atOnce = 16 // between two looks at ctx
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := min(n, atOnce)
		if err := v.capture.Grab(int(step)); err != nil {
			return fmt.Errorf("skip frames: %w", err)
		}
		n -= step
	}
	return nil
}

func (v *video) Corrupt() uint64 { return 0 }

func (v *video) Close() error {
	_ = v.capture.Close() // always nil
	return v.mats.close()
}
