package producer

import (
	"bytes"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gocv.io/x/gocv"

	flowpicture "github.com/spatial-flow/spatial-flow/flow/picture"
)

// intake turns picture files into pictures. A JPEG travels byte for byte, unless it must be turned or is too
// large for a message; all else is decoded and encoded once.
type intake struct{ settings settings }

// file reads one file. A file that can't be sent is a picture too: broken says why, and names the file.
func (in intake) file(path string) picture {
	p := picture{captured: time.Now().UTC()}
	data, err := readFile(path)
	read := time.Now()
	p.read = read.Sub(p.captured)
	if err == nil {
		err = in.take(&p, data)
	}
	p.encode = time.Since(read)
	if err != nil {
		p.data, p.broken = nil, fmt.Sprintf("%s: %v", filepath.Base(path), err)
	}
	return p
}

// readFile returns [errBroken] when the file is empty or larger than maxFileBytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: no regular file", errBroken)
	}
	if info.Size() == 0 || info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%w: file of %d bytes, want 1 to %d", errBroken, info.Size(), maxFileBytes)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer file.Close()
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(file, info.Size())); err != nil { // what grows meanwhile is not read
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	return data.Bytes(), nil
}

// take fills the picture from a file's bytes.
func (in intake) take(p *picture, data []byte) error {
	h, err := readHeader(data)
	if err != nil {
		return err
	}
	if h.width < 1 || h.height < 1 || h.width > maxPixels/h.height {
		return fmt.Errorf("%w: %dx%d, want 1 to %d pixels", errBroken, h.width, h.height, maxPixels)
	}
	if h.format == formatJPEG {
		if err := flowpicture.CheckJPEG(data); err != nil {
			return fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	p.width, p.height = h.width, h.height
	width, height := in.settings.fit(h.width, h.height)
	if h.format == formatJPEG && len(data) <= maxPicture && flowpicture.Orientation(data) == 1 && width == h.width && height == h.height {
		p.data = data
		return nil
	}
	// A new Mat: when a header is bad OpenCV leaves the one that it is given as it was, with the picture before.
	mat := gocv.NewMat()
	defer mat.Close()
	if err := gocv.IMDecodeIntoMat(data, gocv.IMReadColor, &mat); err != nil { // turns as EXIF says
		return fmt.Errorf("%w: decode: %w", errBroken, err)
	}
	if mat.Empty() {
		return fmt.Errorf("%w: can't be decoded", errBroken)
	}
	p.width, p.height = in.settings.fit(mat.Cols(), mat.Rows())
	p.data, err = encode(mat, in.settings)
	return err
}

// fit is the size that a picture of width × height pixels is sent at.
func (s settings) fit(width, height int) (int, int) {
	longer := max(width, height)
	if s.maxSide == 0 || longer <= s.maxSide {
		return width, height
	}
	return max(1, (width*s.maxSide+longer/2)/longer), max(1, (height*s.maxSide+longer/2)/longer)
}

// encode makes a JPEG (4:2:0) that fits into a message: at most settings.maxSide large, at settings.quality, or, if that
// takes too many bytes, at the highest of 80, 70 and 60 that fits. [errBroken] is returned when none does.
func encode(mat gocv.Mat, s settings) ([]byte, error) {
	if width, height := s.fit(mat.Cols(), mat.Rows()); width != mat.Cols() || height != mat.Rows() {
		smaller := gocv.NewMat()
		defer smaller.Close()
		if err := gocv.Resize(mat, &smaller, image.Pt(width, height), 0, 0, gocv.InterpolationArea); err != nil {
			return nil, fmt.Errorf("%w: make it smaller: %w", errBroken, err)
		}
		mat = smaller
	}
	qualities := slices.DeleteFunc([]int{80, 70, 60}, func(q int) bool { return q >= s.quality })
	size := 0
	for _, q := range append([]int{s.quality}, qualities...) {
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
