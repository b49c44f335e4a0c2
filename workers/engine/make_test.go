package engine_test

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spatial-flow/spatial-flow/workers/engine"
)

// message is a protobuf message in the making.
type message []byte

func (m *message) bytes(number protowire.Number, content []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, number, protowire.BytesType), content)
}

func (m *message) number(number protowire.Number, value uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, number, protowire.VarintType), value)
}

// reshapes is a model that makes [1, 3, side, side] of its input of free size, and fails where that is of another: not before it
// runs, but within.
func reshapes(side int) engine.File {
	const integer = 7
	var shape message
	shape.number(1, 4)
	shape.number(2, integer)
	for _, length := range []int{1, 3, side, side} {
		shape.number(7, uint64(length))
	}
	shape.bytes(8, []byte("shape"))
	return freeSize("reshapes.onnx", shape, operation("Reshape", "out", "in", "shape"))
}

// sines is a model that takes the sine of its input so many times, one after the other.
func sines(times int) engine.File {
	var nodes []message
	from := "in"
	for i := range times {
		to := fmt.Sprint("sine", i)
		if i == times-1 {
			to = "out"
		}
		nodes = append(nodes, operation("Sin", to, from))
		from = to
	}
	return freeSize("sines.onnx", nil, nodes...)
}

func operation(kind, to string, from ...string) (node message) {
	for _, name := range from {
		node.bytes(1, []byte(name))
	}
	node.bytes(2, []byte(to))
	node.bytes(4, []byte(kind))
	return node
}

// freeSize is a model from in to out, both [1, 3, side, side], with one initializer or none.
func freeSize(name string, initializer message, nodes ...message) engine.File {
	const float = 1
	value := func(name string) (info message) {
		var shape, tensor, kind message
		for _, length := range []uint64{1, 3} {
			var dimension message
			dimension.number(1, length)
			shape.bytes(1, dimension)
		}
		for range 2 {
			var dimension message
			dimension.bytes(2, []byte("side"))
			shape.bytes(1, dimension)
		}
		tensor.number(1, float)
		tensor.bytes(2, shape)
		kind.bytes(1, tensor)
		info.bytes(1, []byte(name))
		info.bytes(2, kind)
		return info
	}
	var graph, opset, model message
	for _, node := range nodes {
		graph.bytes(1, node)
	}
	graph.bytes(2, []byte(name))
	if initializer != nil {
		graph.bytes(5, initializer)
	}
	graph.bytes(11, value("in"))
	graph.bytes(12, value("out"))
	opset.number(2, 17)
	model.number(1, 8)
	model.bytes(7, graph)
	model.bytes(8, opset)
	return engine.File{Name: name, Data: model}
}
