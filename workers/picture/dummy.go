package picture

import (
	"fmt"

	"gocv.io/x/gocv"
)

// Dummy makes a picture to try a model with: shades and noise, always the same. Close frees it.
func Dummy(width, height int) (*Picture, error) {
	pixels := make([]byte, 3*width*height)
	noise := uint32(1)
	for i := range pixels {
		noise = noise*1664525 + 1013904223
		pixels[i] = byte(192*(i/3%width)/width) + byte(noise>>26)
	}
	mat, err := gocv.NewMatFromBytes(height, width, gocv.MatTypeCV8UC3, pixels)
	if err != nil {
		return nil, fmt.Errorf("make a picture of %dx%d: %w", width, height, err)
	}
	p := NewPicture()
	p.pixels.Close()
	p.pixels, p.width, p.height = mat, width, height
	return p, nil
}
