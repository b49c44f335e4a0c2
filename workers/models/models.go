// Package models holds the models that come with Spatial-Flow.
package models

import _ "embed"

// NoCostDetect is a detector that finds eight boxes in every picture and costs next to nothing; nocost.py makes it.
//
//go:embed nocost_detect.onnx
var NoCostDetect []byte

// NoCostDepth is a depth model of free size whose map is the picture's brightness; nocost.py makes it.
//
//go:embed nocost_depth.onnx
var NoCostDepth []byte
