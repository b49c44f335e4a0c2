package engine

import (
	"errors"
	"fmt"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Options say how a model is run.
type Options struct {
	Library  string // path of libonnxruntime; empty: looked for
	Provider string // cpu, cuda or tensorrt
	Threads  int    // of one inference, at least 1
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
	graph, err := Read(file)
	if err != nil {
		return nil, err
	}
	s := &Session{Graph: graph, Provider: o.Provider, store: store{most: keptBytes}}
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
	return s, nil
}

func names(list []Value) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.Name
	}
	return out
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
