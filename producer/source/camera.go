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

// Properties of OpenCV's FFmpeg backend that gocv has no names for:
// https://docs.opencv.org/4.6.0/d4/d15/group__videoio__flags__base.html
const (
	openTimeoutMS gocv.VideoCaptureProperties = 53
	readTimeoutMS gocv.VideoCaptureProperties = 54
)

// cameraTimeout is how long a camera may take to answer, in milliseconds.
const cameraTimeout = 5000

// errCameraSilent is returned when a camera gives no more pictures: open it again.
var errCameraSilent = errors.New("the camera gives no more pictures")

// camera is a stream or a device, which has no end.
type camera struct{ *video }

// streamSchemes are the URIs that FFmpeg is given as streams.
var streamSchemes = []string{"rtsp://", "rtsps://", "http://", "https://"}

func isStream(uri string) bool {
	for _, scheme := range streamSchemes {
		if len(uri) >= len(scheme) && strings.EqualFold(uri[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// device is the number of a camera device: 0, or /dev/video0.
func device(uri string) (number int, ok bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(uri, "/dev/video"))
	return number, err == nil && number >= 0
}

// openCamera opens a stream (RTSP over TCP, which OpenCV's FFmpeg asks for) or a device. [ErrOpen] is returned when it
// does not answer.
func openCamera(s Spec) (Source, Info, error) {
	var capture *gocv.VideoCapture
	var err error
	if s.device != nil {
		capture, err = gocv.VideoCaptureDevice(*s.device)
	} else {
		capture, err = gocv.VideoCaptureFileWithAPIParams(s.stream, gocv.VideoCaptureFFmpeg,
			[]gocv.VideoCaptureProperties{openTimeoutMS, cameraTimeout, readTimeoutMS, cameraTimeout})
	}
	if err != nil {
		_ = capture.Close()
		return nil, Info{}, fmt.Errorf("%w: %s does not answer, or gives no video", ErrOpen, s.URI)
	}
	v, err := newVideo(capture, s.URI, s.Settings)
	if err != nil {
		return nil, Info{}, err
	}
	return camera{v}, Info{}, nil
}

func (c camera) Next(ctx context.Context) (Picture, error) {
	p, err := c.video.Next(ctx)
	if errors.Is(err, io.EOF) {
		return p, errCameraSilent
	}
	return p, err
}
