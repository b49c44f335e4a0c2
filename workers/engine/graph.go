package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// File is a model: a path, or bytes with a name.
type File struct {
	Path string
	Name string // of Data
	Data []byte
}

func (f File) name() string {
	if f.Data != nil {
		return f.Name
	}
	return filepath.Base(f.Path)
}

// Graph is what a model's file says of it.
type Graph struct {
	Name     string // base name of the file
	Inputs   []Value
	Outputs  []Value
	Metadata map[string]string // custom metadata
}

// Value is an input or output of a model. A free dimension is -1.
type Value struct {
	Name  string
	Float bool // float32; nothing else can be fed
	Shape []int64
}

// Read reads what a model's file says of it, without loading its weights or a library. [ErrModel] is returned, naming the file,
// when it is no ONNX model.
func Read(file File) (Graph, error) {
	g := Graph{Name: file.name(), Metadata: map[string]string{}}
	if err := g.read(file); err != nil {
		return Graph{}, fmt.Errorf("%w %s: %w", ErrModel, g.Name, err)
	}
	return g, nil
}

func (g *Graph) read(file File) error {
	r, size := io.ReaderAt(bytes.NewReader(file.Data)), int64(len(file.Data))
	if file.Data == nil {
		opened, err := os.Open(file.Path)
		if err != nil {
			return err
		}
		defer opened.Close()
		info, err := opened.Stat()
		if err != nil {
			return err
		}
		if info.IsDir() {
			return errors.New("it is a directory")
		}
		r, size = opened, info.Size()
	}
	if err := g.readModel(r, size); err != nil {
		return fmt.Errorf("%w%s", err, hint(r))
	}
	return nil
}

// hint is what a file is that is no model, where its beginning tells.
func hint(r io.ReaderAt) string {
	head := make([]byte, 512)
	n, _ := r.ReadAt(head, 0)
	switch head = bytes.TrimSpace(head[:n]); {
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return ": it is a Git LFS pointer, not the file itself: git lfs pull"
	case bytes.HasPrefix(head, []byte("<")):
		return ": it is a web page, not the file that was to be downloaded"
	case bytes.HasPrefix(head, []byte("PK")):
		return ": it is an archive, or a PyTorch file: export it as ONNX"
	}
	return ""
}

// The numbers of the fields that are read: onnx.proto, in the messages of that name.
const (
	modelGraph, modelMetadata                            = 7, 14
	graphInitializer, graphInput, graphOutput            = 5, 11, 12
	tensorName                                           = 8
	valueName, valueType                                 = 1, 2
	typeTensor, tensorElement, tensorShape, elementFloat = 1, 1, 2, 1
	shapeDimension, dimensionValue                       = 1, 1
	entryKey, entryValue                                 = 1, 2
)

const maxText = 16 << 20 // bytes of a message that is read as a whole

// readModel walks through a ModelProto. Weights are passed over.
func (g *Graph) readModel(r io.ReaderAt, size int64) error {
	initialized := map[string]bool{} // inputs that have a value: of old files each initializer is one
	graphs := 0
	err := walk(r, 0, size, func(number protowire.Number, at, size int64) error {
		switch number {
		case modelMetadata:
			return g.readEntry(r, at, size)
		case modelGraph:
			graphs++
			return walk(r, at, at+size, func(number protowire.Number, at, size int64) error {
				switch number {
				case graphInitializer:
					return walk(r, at, at+size, func(number protowire.Number, at, size int64) error {
						if number != tensorName {
							return nil
						}
						name, err := text(r, at, size)
						initialized[string(name)] = true
						return err
					})
				case graphInput:
					return readValue(&g.Inputs, r, at, size)
				case graphOutput:
					return readValue(&g.Outputs, r, at, size)
				}
				return nil
			})
		}
		return nil
	})
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v Value) bool { return initialized[v.Name] })
	switch {
	case err != nil:
		return err
	case graphs == 0:
		return errNoModel
	case len(g.Inputs) == 0 || len(g.Outputs) == 0:
		return fmt.Errorf("it has %d inputs and %d outputs", len(g.Inputs), len(g.Outputs))
	}
	return nil
}

var errNoModel = errors.New("it is no ONNX file, or one that is cut short")

// walk calls visit with the place of each field that has a length, of the message from at to end.
func walk(r io.ReaderAt, at, end int64, visit func(number protowire.Number, at, size int64) error) error {
	head := make([]byte, 2*10) // a tag and a length, or a tag and a number
	for at < end {
		b := head[:min(int64(len(head)), end-at)]
		if _, err := r.ReadAt(b, at); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		number, kind, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return errNoModel
		}
		if kind != protowire.BytesType {
			value := protowire.ConsumeFieldValue(number, kind, b[tag:])
			if value < 0 {
				return errNoModel
			}
			at += int64(tag + value)
			continue
		}
		size, length := protowire.ConsumeVarint(b[tag:])
		if at += int64(tag + max(0, length)); length < 0 || size > uint64(end-at) {
			return errNoModel
		}
		if err := visit(number, at, int64(size)); err != nil {
			return err
		}
		at += int64(size)
	}
	return nil
}

func text(r io.ReaderAt, at, size int64) ([]byte, error) {
	if size > maxText {
		return nil, fmt.Errorf("a text of %d bytes", size)
	}
	b := make([]byte, size)
	_, err := r.ReadAt(b, at)
	return b, err
}

// readEntry reads a StringStringEntryProto.
func (g *Graph) readEntry(r io.ReaderAt, at, size int64) error {
	var key, value []byte
	err := walk(r, at, at+size, func(number protowire.Number, at, size int64) (err error) {
		switch number {
		case entryKey:
			key, err = text(r, at, size)
		case entryValue:
			value, err = text(r, at, size)
		}
		return err
	})
	g.Metadata[string(key)] = string(value)
	return err
}

// readValue reads a ValueInfoProto.
func readValue(list *[]Value, r io.ReaderAt, at, size int64) error {
	if size > maxText {
		return errNoModel
	}
	var v Value
	err := walk(r, at, at+size, func(number protowire.Number, at, size int64) error {
		message, err := text(r, at, size)
		if err != nil {
			return err
		}
		switch number {
		case valueName:
			v.Name = string(message)
		case valueType:
			tensor := field(message, typeTensor)
			element, _ := protowire.ConsumeVarint(field(tensor, tensorElement))
			v.Float = element == elementFloat
			v.Shape = dimensions(field(tensor, tensorShape))
		}
		return nil
	})
	*list = append(*list, v)
	return err
}

// dimensions are a TensorShapeProto's.
func dimensions(shape []byte) (list []int64) {
	list = []int64{}
	each(shape, shapeDimension, func(dimension []byte) {
		side := int64(-1)
		if value := field(dimension, dimensionValue); value != nil {
			exact, _ := protowire.ConsumeVarint(value)
			side = int64(exact)
		}
		list = append(list, side)
	})
	return list
}

// field is the last field of that number in a message: of one with a length its content.
func field(message []byte, number protowire.Number) (content []byte) {
	each(message, number, func(c []byte) { content = c })
	return content
}

func each(message []byte, want protowire.Number, visit func(content []byte)) {
	for len(message) > 0 {
		number, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(number, kind, message[tag:])
		if size < 0 {
			return
		}
		content := message[tag : tag+size]
		if kind == protowire.BytesType {
			content, _ = protowire.ConsumeBytes(content)
		}
		if number == want {
			visit(content)
		}
		message = message[tag+size:]
	}
}
