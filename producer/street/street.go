// Package street renders a street market that never ends, in software, and knows the truth about every picture: what
// stands where, how much of it can be seen, and how far every pixel is.
//
// # Camera
//
// A pinhole without distortion. The focal length is [FocalPerWidth] times the picture's width, in pixels, the same
// along both axes; the principal point is the middle of the picture. The optical axis is pitched down and turned
// (yaw) as [Camera] tells for every frame; it never rolls. World coordinates are metres: x to the right of the
// street's axis, y up from the road, z along the street.
//
// # Truth
//
// Boxes and visible shares come from a buffer that holds, for every pixel, which object it shows. The visible share
// is the number of pixels that show the object, divided by the number of pixels inside the picture that would show
// it if nothing else stood before it: what the picture's edge cuts off counts as neither. Depth is measured along
// the optical axis, not along the ray; the sky is +Inf.
//
// # Determinism
//
// A frame is a pure function of the configuration and its number: frames may be rendered in any order, by any number
// of streets, and come out the same.
package street

import (
	"fmt"
	"image"
	"time"
)

// Classes, numbered as COCO numbers them (https://cocodataset.org, 80 classes from 0).
const (
	Person  = 0
	Bicycle = 1
	Car     = 2
	Bus     = 5
)

// FocalPerWidth is the focal length as a share of the picture's width: 1 sees 53 degrees from left to right, as
// a surveillance camera with a 4 mm lens before a 1/3 inch sensor does (62 degrees is a telephone's).
const FocalPerWidth = 1.0

// An object counts for detection when at least this much of it can be seen: COCO-style evaluation of what nobody
// could find tells nothing.
const (
	CountVisible = 0.25 // share of its pixels
	CountHeight  = 12   // pixels
)

// Label is COCO's name of a class; empty when the street has none of it.
func Label(class int) string {
	switch class {
	case Person:
		return "person"
	case Bicycle:
		return "bicycle"
	case Car:
		return "car"
	case Bus:
		return "bus"
	}
	return ""
}

// Object is the truth about one object of a frame of which at least one pixel can be seen.
type Object struct {
	Class    int        `json:"class"` // COCO id
	Label    string     `json:"label"` // COCO name
	Instance uint32     `json:"instance"`
	Box      [4]float32 `json:"box"`      // x1, y1, x2, y2 in pixels: bounds of what can be seen, ends exclusive
	Visible  float32    `json:"visible"`  // share of its pixels inside the picture that nothing hides, above 0, to 1
	Distance float32    `json:"distance"` // metres, median depth of its visible pixels
}

// Countable tells whether enough of the object can be seen for a detector to be judged by it.
func (o *Object) Countable() bool {
	return o.Visible >= CountVisible && o.Box[3]-o.Box[1] >= CountHeight
}

// Camera is the pinhole that a frame was taken with.
type Camera struct {
	Focal  float64 `json:"focal"`  // pixels
	CX     float64 `json:"cx"`     // principal point, pixels from the left edge of the leftmost pixel
	CY     float64 `json:"cy"`     // principal point, pixels from the upper edge of the uppermost pixel
	X      float64 `json:"x"`      // metres to the right of the road's middle
	Height float64 `json:"height"` // metres above the road
	Z      float64 `json:"z"`      // metres along the street
	Yaw    float64 `json:"yaw"`    // radians, to the right of the street's direction
	Pitch  float64 `json:"pitch"`  // radians, down
}

// Frame is a rendered picture and its truth. The zero value is ready to be filled; its buffers are used again.
type Frame struct {
	Image   *image.RGBA
	Depth   []float32 // metres along the optical axis, row by row; +Inf is sky
	Objects []Object  // in no particular order
	Camera  Camera
	Time    time.Duration // since frame 0
}

// Street renders one street. It is not for concurrent use; several of the same [Config] render the same.
type Street struct {
	cfg    Config
	look   look
	world  world
	raster raster
	shadow shadows
	tally  []tally
	depths []float32 // scratch of medians
	tables *tables
}

// New builds the street of a configuration. [ErrParameter] is returned when the configuration is out of its range.
func New(cfg Config) (*Street, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Street{cfg: cfg}
	s.look = newLook(cfg)
	s.world = newWorld(cfg, &s.look)
	s.raster = newRaster(cfg.Width, cfg.Height)
	s.shadow = newShadows(&s.look)
	return s, nil
}

// Config is the configuration the street was built with.
func (s *Street) Config() Config { return s.cfg }

// MaxFrames is how many frames a street has: at 240 a second it lasts for a century, and up to there what moves is
// where it is to a tenth of a millimetre.
const MaxFrames = 1 << 40

// Render fills f with frame n, counted from 0, below [MaxFrames].
func (s *Street) Render(n uint64, f *Frame) error {
	if n >= MaxFrames {
		return fmt.Errorf("%w: frame %d: give 0 to %d", ErrParameter, n, uint64(MaxFrames-1))
	}
	seconds := float64(n) / s.cfg.FPS
	view := s.world.view(seconds)
	s.world.gather(seconds, &view)
	s.shadow.cast(&s.world, &view)
	s.raster.begin()
	for i := range s.world.pieces {
		s.raster.draw(&view, &s.world.pieces[i])
	}
	s.raster.blobs(&view, s.world.blobs)
	if err := f.resize(s.cfg.Width, s.cfg.Height); err != nil {
		return err
	}
	s.shade(n, &view, f)
	s.truth(f)
	f.Camera, f.Time = view.camera, time.Duration(seconds*float64(time.Second))
	return nil
}

// resize makes the buffers fit.
func (f *Frame) resize(width, height int) error {
	if f == nil {
		return fmt.Errorf("%w: no frame to render into", ErrParameter)
	}
	if f.Image == nil || f.Image.Rect != image.Rect(0, 0, width, height) || f.Image.Stride != 4*width {
		f.Image = image.NewRGBA(image.Rect(0, 0, width, height))
	}
	if len(f.Depth) != width*height {
		f.Depth = make([]float32, width*height)
	}
	f.Objects = f.Objects[:0]
	return nil
}
