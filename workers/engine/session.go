package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
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

// Options say how a model is run.
type Options struct {
	Library  string // path of libonnxruntime; empty: looked for
	Provider string // cpu, cuda or tensorrt
	Threads  int    // of one inference, at least 1
}

// Value is an input or output of a model. A free dimension is -1.
type Value struct {
	Name  string
	Float bool // float32; nothing else can be fed
	Shape []int64
}

// Graph is what a model's file says of it.
type Graph struct {
	Name     string // base name of the file
	Inputs   []Value
	Outputs  []Value
	Metadata map[string]string // custom metadata
}

// Session is a loaded model. It may be used by many goroutines, each with [Tensors] of its own.
type Session struct {
	Graph
	Provider string

	session *ort.DynamicAdvancedSession
	store   store
}

// Open loads a model. [ErrLibrary], [ErrModel] or [ErrProvider] is returned, naming the file, when that fails.
func Open(file File, o Options) (*Session, error) {
	library, err := FindLibrary(o.Library)
	if err != nil {
		return nil, err
	}
	if err := load(library); err != nil {
		return nil, err
	}
	s := &Session{Graph: Graph{Name: file.name()}, Provider: o.Provider, store: store{most: keptBytes}}
	if err := s.describe(file); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrModel, s.Name, err)
	}
	if len(s.Outputs) == 0 {
		return nil, fmt.Errorf("%w %s: it has no output", ErrModel, s.Name)
	}
	options, err := sessionOptions(o)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if file.Data != nil {
		s.session, err = ort.NewDynamicAdvancedSessionWithONNXData(file.Data, names(s.Inputs), names(s.Outputs[:1]), options)
	} else {
		s.session, err = ort.NewDynamicAdvancedSession(file.Path, names(s.Inputs), names(s.Outputs[:1]), options)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrModel, s.Name, err)
	}
	if s.Metadata, err = metadata(s.session); err != nil {
		s.session.Destroy()
		return nil, fmt.Errorf("%w %s: read metadata: %w", ErrModel, s.Name, err)
	}
	return s, nil
}

// describe reads inputs and outputs; graph optimisation would be wasted on that.
func (s *Session) describe(file File) error {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return err
	}
	defer options.Destroy()
	if err := options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil {
		return err
	}
	var inputs, outputs []ort.InputOutputInfo
	if file.Data != nil {
		inputs, outputs, err = ort.GetInputOutputInfoWithONNXData(file.Data)
	} else {
		inputs, outputs, err = ort.GetInputOutputInfoWithOptions(file.Path, options)
	}
	s.Inputs, s.Outputs = values(inputs), values(outputs)
	return err
}

func values(infos []ort.InputOutputInfo) []Value {
	list := make([]Value, len(infos))
	for i, info := range infos {
		list[i] = Value{Name: info.Name, Float: info.DataType == ort.TensorElementDataTypeFloat, Shape: info.Dimensions}
	}
	return list
}

func names(list []Value) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Name
	}
	return out
}

func metadata(session *ort.DynamicAdvancedSession) (map[string]string, error) {
	m, err := session.GetModelMetadata()
	if err != nil {
		return nil, err
	}
	defer m.Destroy()
	keys, err := m.GetCustomMetadataMapKeys()
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(keys))
	for _, key := range keys {
		value, _, err := m.LookupCustomMetadataMap(key)
		if err != nil {
			return nil, err
		}
		all[key] = value
	}
	return all, nil
}

func sessionOptions(o Options) (*ort.SessionOptions, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("%w: session options: %w", ErrLibrary, err)
	}
	if err := configure(options, o); err != nil {
		return nil, errors.Join(err, options.Destroy())
	}
	return options, nil
}

func configure(options *ort.SessionOptions, o Options) error {
	err := errors.Join(
		options.SetIntraOpNumThreads(o.Threads),
		options.SetInterOpNumThreads(1),
		options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		// Spinning threads take the CPU from the other stages of this machine.
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	if err != nil {
		return fmt.Errorf("%w: session options: %w", ErrLibrary, err)
	}
	if err := appendProvider(options, o.Provider); err != nil {
		return fmt.Errorf("%w %s: %w (%s; --provider cpu always works)", ErrProvider, o.Provider, err, providerHint(err))
	}
	return nil
}

// Close frees the model. No run may be under way; tensors that are released later are freed then.
func (s *Session) Close() error {
	s.store.close()
	return s.session.Destroy()
}

// providerHint is what usually is behind an error of an execution provider.
func providerHint(err error) string {
	if strings.Contains(err.Error(), "libcuda.so") {
		return "no NVIDIA driver here: give the container a GPU (docker run --gpus all, nvidia.com/gpu in Kubernetes)"
	}
	return "this libonnxruntime or machine may lack it"
}
