// Package models holds the models that come with Spatial-Flow.
package models

import (
	_ "embed"

	"github.com/spatial-flow/spatial-flow/flow"
)

// NoCostDetect is a detector that finds eight boxes in every picture and costs next to nothing; nocost.py makes it.
//
//go:embed nocost_detect.onnx
var NoCostDetect []byte

// NoCostDepth is a depth model of free size whose map is the picture's brightness; nocost.py makes it.
//
//go:embed nocost_depth.onnx
var NoCostDepth []byte

//go:embed demo/detect.onnx
var demoDetect []byte

//go:embed demo/depth.onnx
var demoDepth []byte

// Demo is a group's small model, trained on a generated street (see the card beside it), and its name.
func Demo(group string) (name string, data []byte) {
	switch group {
	case flow.GroupDetect:
		return "demo/detect.onnx", demoDetect
	case flow.GroupDepth:
		return "demo/depth.onnx", demoDepth
	}
	return "", nil
}
