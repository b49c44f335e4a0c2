package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// Options say how a model is run.
type Options struct {
	Library  string // path of libonnxruntime; empty: looked for, see [FindLibrary]
	Provider string // cpu, cuda or tensorrt
	// Threads of the session's pool, which all its runs share, the callers among them: of so many, all but one are its own. 0: as
	// many as keep the CPUs of this process busy while Runs are under way, and no more: 15 of 16 CPUs for two runs, one of two. One
	// more than that takes 1.17 times the CPU a picture (BenchmarkThreads). The number of CPUs follows the cgroup's limit.
	Threads int
	Runs    int          // at once; 0: one
	Log     *slog.Logger // of ONNX Runtime's own lines, at most one a second; nil: slog's default. One process has one: the last

	// What follows is of cuda and tensorrt, and has not run on hardware yet.

	Device int    // which GPU, from 0
	Memory int64  // bytes that ONNX Runtime takes of the GPU's memory at most; 0: no bound
	TF32   bool   // cuda: matrix products with 10 bits of mantissa: quicker, and not quite what the CPU answers
	FP16   bool   // tensorrt: half precision: quicker, and not quite what the CPU answers
	Cache  string // tensorrt: folder of the engines that it has built, which is made; empty: in the user's cache folder
	Strict bool   // refuse a model of which some nodes would run on the CPU
}

// Session is a loaded model. It may be used by many goroutines, each with [Tensors] of its own.
type Session struct {
	Graph
	Provider string         // that runs most of the graph, whichever was asked for
	Nodes    map[string]int // of the graph, by the provider that runs them; nil: the library does not tell
	Threads  int            // of the pool

	session  *ort.DynamicAdvancedSession
	store    store
	firstRun sync.Once
}

// Open loads a model. [ErrLibrary], [ErrModel] or [ErrProvider] is returned, naming the file, when that fails.
func Open(file File, o Options) (*Session, error) {
	said.to(o.Log)
	if o.Threads == 0 {
		o.Threads = threads(runtime.GOMAXPROCS(0), o.Runs)
	}
	if err := load(o); err != nil {
		return nil, err
	}
	graph, err := Read(file)
	if err != nil {
		return nil, err
	}
	s := &Session{Graph: graph, Provider: o.Provider, Threads: o.Threads, store: store{most: keptBytes}}
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
	restoreSignals()
	if err != nil {
		if o.Provider != CPU && aboutDevice(err) {
			return nil, fmt.Errorf("%s: %w", s.Name, providerError(o.Provider, err))
		}
		return nil, fmt.Errorf("%w %s: %w", ErrModel, s.Name, err)
	}
	s.place()
	return s, nil
}

// threads of a pool that, with the callers of so many runs, are as many as the CPUs.
func threads(cpus, runs int) int { return max(1, cpus-max(runs, 1)+1) }

// place finds out what runs where.
func (s *Session) place() {
	s.Nodes = placed(s.session)
	for _, provider := range slices.Sorted(maps.Keys(s.Nodes)) {
		if s.Nodes[provider] > s.Nodes[s.Provider] {
			s.Provider = provider
		}
	}
}

// Placement says how many nodes of the graph run where: "219 nodes cuda, 12 cpu".
func (s *Session) Placement() string {
	if len(s.Nodes) == 0 {
		return s.Provider + ", as asked: the library does not tell what runs where"
	}
	providers := slices.SortedFunc(maps.Keys(s.Nodes), func(a, b string) int { return s.Nodes[b] - s.Nodes[a] })
	parts := make([]string, len(providers))
	for i, provider := range providers {
		parts[i] = fmt.Sprintf("%d %s", s.Nodes[provider], provider)
		if i == 0 {
			parts[i] = fmt.Sprintf("%d nodes %s", s.Nodes[provider], provider)
		}
	}
	return strings.Join(parts, ", ")
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
		options.AddSessionConfigEntry("session.record_ep_graph_assignment_info", "1"),
	)
	if o.Strict && o.Provider != CPU {
		err = errors.Join(err, options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1"))
	}
	if err != nil {
		return fmt.Errorf("%w: session options: %w", ErrLibrary, err)
	}
	if err := appendProvider(options, o); err != nil {
		return providerError(o.Provider, err)
	}
	return nil
}

// Close frees the model. No run may be under way; tensors that are released later are freed then.
func (s *Session) Close() error {
	s.store.close()
	return s.session.Destroy()
}
