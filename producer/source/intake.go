package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// Bounds of what is read.
const (
	maxFileBytes = 64 << 20          // of a picture file
	maxPixels    = picture.MaxPixels // of a camera's picture
)

// Intake turns picture files into pictures. A JPEG travels byte for byte, unless it must be turned, holds inks, or is too
// large for a message; all else is decoded and encoded once. What would be decoded to more than [picture.DefaultMaxPixels] is
// made smaller while it is decoded, where it is a JPEG, and refused else.
type Intake struct{ Settings Settings }

// file reads one file. A file that can't be sent is a picture too: broken says why, and names the file.
func (in Intake) file(path string) Picture {
	p := Picture{Captured: time.Now().UTC(), File: flow.FileName(filepath.Base(path))}
	data, err := readFile(path)
	read := time.Now()
	p.Read = read.Sub(p.Captured)
	if err == nil {
		err = in.Fill(&p, data)
	}
	p.Finish()
	p.Encode = time.Since(read)
	if err == nil && p.Broken != "" {
		err = errors.New(p.Broken)
	}
	if err != nil {
		p.Data, p.Broken = nil, fmt.Sprintf("%s: %v", p.File, err)
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

// Fill fills the picture from a file's bytes, which must not be changed then. It looks at them; what must be decoded is left to
// be finished. An error is about the picture.
func (in Intake) Fill(p *Picture, data []byte) error {
	file, err := picture.Open(data)
	if err != nil {
		return err
	}
	by, err := file.Reduction(picture.DefaultMaxPixels)
	if err != nil {
		return err
	}
	p.Width, p.Height = file.Width, file.Height
	width, height := in.Settings.fit(file.Width, file.Height)
	if file.Ready() && len(data) <= maxPicture && width == file.Width && height == file.Height {
		p.Data = data
		return nil
	}
	p.Pixels = undecoded{file, data, by, in.Settings}
	return nil
}

// undecoded are the pixels of a picture file.
type undecoded struct {
	file     picture.File
	data     []byte
	by       int // times smaller
	settings Settings
}

func (u undecoded) Release() {}

func (u undecoded) Encode() (data []byte, width, height int, err error) {
	mat := gocv.NewMat()
	defer mat.Close()
	if u.by > 1 {
		err = decodeReduced(&mat, u.data, u.file, u.by)
	} else {
		err = u.decode(&mat)
	}
	if err != nil {
		return nil, 0, 0, err
	}
	width, height = u.settings.fit(mat.Cols(), mat.Rows())
	data, err = encode(mat, u.settings)
	return data, width, height, err
}

// decode decodes the whole picture as every door does.
func (u undecoded) decode(into *gocv.Mat) error {
	img, err := u.file.Decode()
	if err != nil {
		return err
	}
	colours, err := gocv.NewMatFromBytes(u.file.Height, u.file.Width, gocv.MatTypeCV8UC4, img.Pix)
	if err != nil {
		return fmt.Errorf("%w: decode: %w", errBroken, err)
	}
	defer colours.Close()
	if err := gocv.CvtColor(colours, into, gocv.ColorRGBAToBGR); err != nil {
		return fmt.Errorf("%w: decode: %w", errBroken, err)
	}
	return nil
}

// reducing are OpenCV's ways to make a JPEG smaller while it is decoded, by how many times.
var reducing = map[int]gocv.IMReadFlag{1: gocv.IMReadColor, 2: gocv.IMReadReducedColor2, 4: gocv.IMReadReducedColor4, 8: gocv.IMReadReducedColor8}

// decodeReduced decodes a JPEG some times smaller, and upright.
func decodeReduced(into *gocv.Mat, data []byte, file picture.File, by int) error {
	if err := gocv.IMDecodeIntoMat(data, reducing[by], into); err != nil {
		return fmt.Errorf("%w: decode: %w", errBroken, err)
	}
	if width, height := file.Reduced(by); into.Cols() != width || into.Rows() != height {
		return fmt.Errorf("%w: decode JPEG of %dx%d", errBroken, file.Width, file.Height)
	}
	return nil
}

// fit is the size that a picture of width × height pixels is sent at.
func (s Settings) fit(width, height int) (int, int) {
	longer := max(width, height)
	if s.MaxSide == 0 || longer <= s.MaxSide {
		return width, height
	}
	return max(1, (width*s.MaxSide+longer/2)/longer), max(1, (height*s.MaxSide+longer/2)/longer)
}
