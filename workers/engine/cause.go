package engine

import (
	"errors"
	"slices"
	"strings"
)

// Fault is what an error of this package is about.
type Fault string

// What errors are about.
const (
	FaultNone     Fault = ""         // none of this package's errors
	FaultLibrary  Fault = "library"  // libonnxruntime is absent or does not load
	FaultProvider Fault = "provider" // the execution provider is absent, or refuses its settings
	FaultModel    Fault = "model"    // the file, or the graph with that input
	FaultDevice   Fault = "device"   // hardware, driver, or memory
)

// deviceErrors are what ONNX Runtime's errors say when hardware, its driver or memory is the cause.
var deviceErrors = []string{
	"cuda failure", "cuda error", "cudnn failure", "cudnn_status", "cublas failure", "cublas_status", "cudart", "cuda driver",
	"no cuda-capable device", "gpu=", "failed to allocate memory", "out of memory", "bad_alloc", "bad alloc",
}

// Cause tells what an error is about. What ONNX Runtime says decides: it has no codes for that.
func Cause(err error) Fault {
	if err == nil {
		return FaultNone
	}
	if aboutDevice(err) {
		return FaultDevice
	}
	switch {
	case errors.Is(err, ErrLibrary):
		return FaultLibrary
	case errors.Is(err, ErrProvider):
		return FaultProvider
	case errors.Is(err, ErrModel), errors.Is(err, ErrRun):
		return FaultModel
	}
	return FaultNone
}

func aboutDevice(err error) bool {
	says := strings.ToLower(err.Error())
	return slices.ContainsFunc(deviceErrors, func(text string) bool { return strings.Contains(says, text) })
}
