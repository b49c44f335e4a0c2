package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// attached is a camera device, which ffmpeg reads.
type attached struct {
	endless
	decoder  *ffmpeg.Decoder
	stop     context.CancelFunc
	mats     mats
	settings Settings
}

// device is the number of a camera device: 0, or /dev/video0.
func device(uri string) (number int, ok bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(uri, "/dev/video"))
	return number, err == nil && number >= 0
}

// openDevice opens a device, and waits for its first picture. [ErrOpen] is returned when it gives none.
func openDevice(ctx context.Context, s Spec, how Film) (Source, Info, error) {
	reading, stop := context.WithCancel(ctx)
	decoder, err := ffmpeg.OpenDevice(reading, fmt.Sprintf("/dev/video%d", *s.device), ffmpeg.DeviceOptions{Silence: cameraSilence, Args: how.DecodeArgs})
	if err != nil {
		stop()
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, s.URI, err)
	}
	source, info, err := begun(ctx, &attached{decoder: decoder, stop: stop, settings: s.Settings}, Info{Camera: true})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %s: %w", ErrOpen, s.URI, err)
	}
	return source, info, err
}

func (a *attached) Next(ctx context.Context) (Picture, error) {
	var mat gocv.Mat
	var p Picture
	begin := time.Now()
	_, err := a.decoder.Next(ctx, func(l ffmpeg.Layout) []byte {
		mat = a.mats.getSized(l.Height, l.Width, gocv.MatTypeCV8UC3)
		p.Width, p.Height = a.settings.fit(l.Width, l.Height)
		p.Pixels = decoded{mat, &a.mats, a.settings, nil}
		pixels, _ := mat.DataPtrUint8() // it is continuous: it was made as a whole
		return pixels
	})
	if err != nil {
		p.Release()
		return Picture{}, err
	}
	p.Captured = time.Now().UTC()
	p.Read = p.Captured.Sub(begin)
	return p, nil
}

func (a *attached) Close() error {
	a.stop()
	return errors.Join(a.decoder.Close(), a.mats.close())
}
