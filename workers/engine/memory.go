package engine

// #include <stdlib.h>
import "C"

import (
	"errors"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// floats are so many float32 in C's memory, where ONNX Runtime may keep pointers to them between calls: cgo forbids that of
// Go's. Whoever makes them frees them.
func floats(count int) ([]float32, error) {
	memory := C.calloc(C.size_t(max(1, count)), C.size_t(unsafe.Sizeof(float32(0))))
	if memory == nil {
		return nil, errors.New("out of memory")
	}
	return unsafe.Slice((*float32)(memory), max(1, count))[:count], nil
}

func free(values []float32) { C.free(unsafe.Pointer(unsafe.SliceData(values))) }

// tensor is an ONNX Runtime tensor in C's memory.
type tensor struct {
	value *ort.Tensor[float32]
	data  []float32
}

func newTensor(shape []int64) (tensor, error) {
	if err := ort.Shape(shape).Validate(); err != nil {
		return tensor{}, err
	}
	data, err := floats(int(ort.Shape(shape).FlattenedSize()))
	if err != nil {
		return tensor{}, err
	}
	value, err := ort.NewTensor(shape, data)
	if err != nil {
		free(data)
		return tensor{}, err
	}
	return tensor{value, data}, nil
}

func (t *tensor) destroy() error {
	if t.value == nil {
		return nil
	}
	err := t.value.Destroy()
	free(t.data)
	*t = tensor{}
	return err
}

func (t *tensor) bytes() int { return len(t.data) * int(unsafe.Sizeof(float32(0))) }
