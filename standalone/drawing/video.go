package drawing

import (
	"context"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// Video is a video file that is being written. Its size is that of its first picture. Until Close it has another name, so
// that nothing that was there is lost for nothing.
type Video struct {
	path   string
	part   string // its name until Close
	fps    float64
	writer *ffmpeg.Encoder // nil: no picture yet
	size   image.Point
	fitted gocv.Mat
	frames int
}

// NewVideo begins a video file with so many pictures a second, 0.1 to 1000. [ErrDraw] is returned when the file can't be written, or
// its extension is neither .mp4 nor .avi: see [ffmpeg.Encodes].
func NewVideo(path string, fps float64) (*Video, error) {
	if !ffmpeg.Encodes(path) {
		return nil, fmt.Errorf("%w: %s: a video's name ends in .mp4 or .avi", ErrDraw, path)
	}
	if !(fps >= .1 && fps <= 1000) {
		return nil, fmt.Errorf("%w: %s: %v pictures a second are not 0.1 to 1000", ErrDraw, path, fps)
	}
	part := strings.TrimSuffix(path, filepath.Ext(path)) + ".part" + filepath.Ext(path)
	file, err := os.Create(part) // said before the first picture has gone through the pipeline
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDraw, err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDraw, err)
	}
	return &Video{path: path, part: part, fps: fps, fitted: gocv.NewMat()}, nil
}

// Add writes one picture, 8-bit BGR; one of another size than the first is fitted.
func (v *Video) Add(picture *gocv.Mat) error {
	if v.writer == nil {
		v.size = image.Pt(picture.Cols()&^1, max(picture.Rows()&^1, 2)) // the codec halves colour both ways
		writer, err := ffmpeg.NewEncoder(context.Background(), v.part, v.size.X, v.size.Y, v.fps)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDraw, v.path, err)
		}
		v.writer = writer
	}
	if picture.Cols() != v.size.X || picture.Rows() != v.size.Y {
		if err := gocv.Resize(*picture, &v.fitted, v.size, 0, 0, gocv.InterpolationArea); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDraw, v.path, err)
		}
		picture = &v.fitted
	}
	if !picture.IsContinuous() { // a part of another
		whole := picture.Clone()
		defer whole.Close()
		picture = &whole
	}
	pixels, err := picture.DataPtrUint8()
	if err == nil {
		err = v.writer.Add(pixels)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDraw, v.path, err)
	}
	v.frames++
	return nil
}

// Until writes a picture as often as it takes for the video to last so many seconds: not at all when it does already, and
// no more when ctx ends.
func (v *Video) Until(ctx context.Context, seconds float64, picture *gocv.Mat) error {
	for n := int(math.Round(seconds*v.fps)) - v.frames; n > 0 && ctx.Err() == nil; n-- {
		if err := v.Add(picture); err != nil {
			return err
		}
	}
	return nil
}

// Frames is how many pictures were written.
func (v *Video) Frames() int { return v.frames }

// Seconds is how long the video is.
func (v *Video) Seconds() float64 { return float64(v.frames) / v.fps }

// Close completes the file, which then takes the place of one of its name. [ErrDraw] is returned when there was no picture,
// and when what was written can't be read.
func (v *Video) Close() error {
	if err := v.finish(); err != nil {
		return err
	}
	if err := os.Rename(v.part, v.path); err != nil {
		return fmt.Errorf("%w: %w", ErrDraw, err)
	}
	return nil
}

// Leave ends a video that is not complete: what there is of it stays under the name that is returned, and takes no other's place. It is
// empty when there was no picture.
func (v *Video) Leave() (part string) {
	if v.finish() != nil {
		_ = os.Remove(v.part) // nobody can look at it
		return ""
	}
	return v.part
}

// finish ends the writing.
func (v *Video) finish() error {
	_ = v.fitted.Close() // always nil
	if v.writer == nil {
		_ = os.Remove(v.part) // it is empty
		return fmt.Errorf("%w: %s: there was no picture", ErrDraw, v.path)
	}
	if err := v.writer.Close(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDraw, v.part, err)
	}
	return nil
}
