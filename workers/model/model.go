// Package model says what a model is and what it promises, whatever runs it.
package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

var (
	// ErrShape is returned when a picture's shape makes an input that the model does not take.
	ErrShape = errors.New("picture of a shape that the model does not take")
	// ErrOutput is returned when an output is not what the model's description promises: of another shape, not finite, or
	// out of its range.
	ErrOutput = errors.New("the model's output is wrong")
)

// Description is what was understood of a model's file and its settings.
type Description struct {
	File   string // base name
	Task   flow.Task
	Family string // the decoder's name, as alive messages have it: yolo-raw, depth-anything
	Input  Input
	Output string // its name

	Labels     []string      // of a detector, by class ID
	Confidence float32       // of a detector: a box must score more, 0 to 1
	IoU        float32       // of a detector: of two boxes of a class that overlap more, one goes, 0 to 1
	Most       int           // of a detector: boxes of a picture
	Kind       depthmap.Kind // of a depth model: what its numbers mean
	Bits       int           // of a depth model: of its maps' samples
}

// Input is how a picture becomes a model's input: float32 [1, 3, height, width], RGB.
type Input struct {
	Name          string
	Width, Height int    // pixels; 0: free
	Size          int    // of one whose size is free: the longer side of a letterbox, the shorter one of a lower bound
	Multiple      int    // of one whose size is free: sides are multiples of it
	Resize        Resize // how a picture is brought to that size
	Scale         Scale  // how bytes become numbers
}

// Resize says how a picture is brought to an input's size.
type Resize string

// The ways to resize.
const (
	Letterbox  Resize = "letterbox"   // the aspect kept, centred, grey bars
	Stretch    Resize = "stretch"     // to the input's size, whatever the aspect
	LowerBound Resize = "lower-bound" // the aspect kept, the shorter side at least Size
)

// Scale says how bytes become the input's numbers.
type Scale string

// The ways to scale.
const (
	Unit     Scale = "RGB/255"
	ImageNet Scale = "RGB/255 with ImageNet's mean and deviation"
)

// String is the line of it that logs and status have: "yolo-raw, 80 classes, 640x640 letterbox, RGB/255".
func (d Description) String() string {
	what := string(d.Kind)
	if d.Task == flow.TaskDetect {
		what = fmt.Sprintf("%d classes", len(d.Labels))
	}
	size := fmt.Sprintf("%dx%d", d.Input.Width, d.Input.Height)
	if d.Input.Width == 0 {
		size = fmt.Sprintf("free size (%d)", d.Input.Size)
	}
	return fmt.Sprintf("%s, %s, %s %s, %s", d.Family, what, size, d.Input.Resize, d.Input.Scale)
}

// FirstShapes are the inputs' heights and widths of pictures of 16:9 and 4:3, as most cameras have them, each once, but for those
// that the model refuses; of a square then. shape is the model's Shape.
func FirstShapes(shape func(width, height int) (inputHeight, inputWidth int, err error)) (list [][2]int) {
	for _, size := range [][2]int{{1920, 1080}, {640, 480}, {640, 640}} {
		height, width, err := shape(size[0], size[1])
		if square := size[0] == size[1]; err != nil || square && len(list) > 0 {
			continue
		}
		if first := [2]int{height, width}; !slices.Contains(list, first) {
			list = append(list, first)
		}
	}
	return list
}
