package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gocv.io/x/gocv"
)

// errCameraSilent is returned when a camera gives no more pictures: open it again.
var errCameraSilent = errors.New("the camera gives no more pictures")

// attached is a camera device, which has no end.
type attached struct{ *video }

// device is the number of a camera device: 0, or /dev/video0.
func device(uri string) (number int, ok bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(uri, "/dev/video"))
	return number, err == nil && number >= 0
}

// openDevice opens a device. [ErrOpen] is returned when it does not answer.
func openDevice(number int, s Spec) (Source, Info, error) {
	capture, err := gocv.VideoCaptureDevice(number)
	if err != nil {
		_ = capture.Close()
		return nil, Info{}, fmt.Errorf("%w: %s does not answer, or gives no video", ErrOpen, s.URI)
	}
	v, err := newVideo(capture, s.URI, s.Settings)
	if err != nil {
		return nil, Info{}, err
	}
	return attached{v}, Info{Camera: true}, nil
}

func (c attached) Next(ctx context.Context) (Picture, error) {
	p, err := c.video.Next(ctx)
	if errors.Is(err, io.EOF) {
		return p, errCameraSilent
	}
	return p, err
}
