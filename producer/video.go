package producer

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
	capture *gocv.VideoCapture
	mat     gocv.Mat // of the frame in hand, used again for the next
	quality int
}

func openVideo(path string, quality int) (source, uint64, error) {
	abs, err := filepath.Abs(path) // so that FFmpeg takes no file name for a protocol
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	capture, err := gocv.VideoCaptureFileWithAPI(abs, gocv.VideoCaptureFFmpeg)
	if err != nil {
		_ = capture.Close()
		return nil, 0, fmt.Errorf("%w: %s is no video that FFmpeg can read", ErrOpen, path)
	}
	width, height := capture.Get(gocv.VideoCaptureFrameWidth), capture.Get(gocv.VideoCaptureFrameHeight)
	if width < 1 || height < 1 || width*height > maxPixels {
		_ = capture.Close()
		return nil, 0, fmt.Errorf("%w: %s has frames of %.0fx%.0f, want 1 to %d pixels", ErrOpen, path, width, height, maxPixels)
	}
	frames := uint64(0)
	if count := capture.Get(gocv.VideoCaptureFrameCount); count >= 1 && count < 1e12 {
		frames = uint64(count)
	}
	return &video{capture: capture, mat: gocv.NewMat(), quality: quality}, frames, nil
}

func (v *video) Next(ctx context.Context) (picture, error) {
	if err := ctx.Err(); err != nil {
		return picture{}, err
	}
	p := picture{captured: time.Now().UTC()}
	if !v.capture.Read(&v.mat) || v.mat.Empty() {
		return picture{}, io.EOF
	}
	read := time.Now()
	p.read = read.Sub(p.captured)
	p.width, p.height = v.mat.Cols(), v.mat.Rows()
	data, err := encode(v.mat, v.quality)
	if err != nil {
		p.broken = err.Error()
	}
	p.data, p.encode = data, time.Since(read)
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
	return v.mat.Close()
}
