package source

import (
	"bytes"
	"fmt"
	"image"
	"slices"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// maxPicture is what a picture may take of a message, in bytes: the rest of the frame fits beside it.
const maxPicture = bus.MaxMessage - bus.FrameRoom

// encode makes a JPEG (4:2:0) that fits into a message: at most settings.MaxSide large, at settings.Quality, or, if that
// takes too many bytes, at the highest of 80, 70 and 60 that fits. [errBroken] is returned when none does.
func encode(mat gocv.Mat, s Settings) ([]byte, error) {
	if width, height := s.fit(mat.Cols(), mat.Rows()); width != mat.Cols() || height != mat.Rows() {
		smaller := gocv.NewMat()
		defer smaller.Close()
		if err := gocv.Resize(mat, &smaller, image.Pt(width, height), 0, 0, gocv.InterpolationArea); err != nil {
			return nil, fmt.Errorf("%w: make it smaller: %w", errBroken, err)
		}
		mat = smaller
	}
	qualities := slices.DeleteFunc([]int{80, 70, 60}, func(q int) bool { return q >= s.Quality })
	size := 0
	for _, q := range append([]int{s.Quality}, qualities...) {
		data, n, err := encodeAt(mat, q)
		if err != nil {
			return nil, err
		}
		if data != nil {
			return data, nil
		}
		size = n
	}
	return nil, fmt.Errorf("%w: JPEG of %d bytes, at most %d", errBroken, size, maxPicture)
}

// encodeAt answers nil and the size when the JPEG is too large. It copies the bytes out of OpenCV's buffer, once.
func encodeAt(mat gocv.Mat, quality int) ([]byte, int, error) {
	buffer, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, mat, []int{gocv.IMWriteJpegQuality, quality})
	if err != nil {
		buffer.Close() // it is there all the same
		return nil, 0, fmt.Errorf("%w: encode: %w", errBroken, err)
	}
	defer buffer.Close()
	if buffer.Len() > maxPicture {
		return nil, buffer.Len(), nil
	}
	return bytes.Clone(buffer.GetBytes()), buffer.Len(), nil
}

// Shrink makes a picture that takes more than most bytes small enough, at a lower quality first and then with fewer pixels.
// An error is returned when that is not to be had, or the picture is no JPEG.
func (p *Picture) Shrink(most int) error {
	file, err := picture.Open(p.Data)
	if err != nil || file.Kind != picture.JPEG {
		return fmt.Errorf("%w: can't be decoded to make it smaller", errBroken)
	}
	by, err := file.Reduction(picture.DefaultMaxPixels)
	if err != nil {
		return fmt.Errorf("%w: make it smaller: %w", errBroken, err)
	}
	mat := gocv.NewMat()
	defer mat.Close()
	if err := decodeReduced(&mat, p.Data, file, by); err != nil {
		return fmt.Errorf("make it smaller: %w", err)
	}
	begin := time.Now()
	defer func() { p.Encode += time.Since(begin) }()
	const quality = 70
	for side := max(mat.Cols(), mat.Rows()); side >= minSide; side = side * 7 / 10 {
		s := Settings{Quality: quality, MaxSide: side}
		data, err := encode(mat, s)
		if err == nil && len(data) <= most {
			p.Data = data
			p.Width, p.Height = s.fit(mat.Cols(), mat.Rows())
			return nil
		}
	}
	return fmt.Errorf("%w: no JPEG of at most %d bytes", errBroken, most)
}
