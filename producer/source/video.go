package source

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"gocv.io/x/gocv"
)

// video reads a video file; what its metadata says to turn, OpenCV turns.
type video struct {
	capture  *gocv.VideoCapture
	mats     mats
	settings Settings
}

func openVideo(path string, s Settings) (Source, Info, error) {
	abs, err := filepath.Abs(path) // so that FFmpeg takes no file name for a protocol
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	capture, err := gocv.VideoCaptureFileWithAPI(abs, gocv.VideoCaptureFFmpeg)
	if err != nil {
		_ = capture.Close()
		return nil, Info{}, fmt.Errorf("%w: %s is no video that FFmpeg can read", ErrOpen, path)
	}
	v, err := newVideo(capture, path, s)
	if err != nil {
		return nil, Info{}, err
	}
	info := Info{}
	if count := capture.Get(gocv.VideoCaptureFrameCount); count >= 1 && count < 1e12 {
		info.Frames = uint64(count)
	}
	if fps := capture.Get(gocv.VideoCaptureFPS); fps > 0 && fps <= MaxFPS {
		info.FPS = fps
	}
	return v, info, nil
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
	p.Pixels = decoded{mat, &v.mats, v.settings}
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

func (v *video) Close() error {
	_ = v.capture.Close() // always nil
	return v.mats.close()
}
