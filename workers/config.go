// Package workers runs a worker group's model over every frame whose plan names the group, and answers each frame
// with a result, even if that only says why there is none.
package workers

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	bounds "github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// Inference is how models are run: the settings that every program with models in it has.
type Inference struct {
	Provider    string `enum:"cpu,cuda,tensorrt" default:"cpu" help:"ONNX Runtime execution provider: cpu, cuda or tensorrt (the latter two have not run on hardware yet)."`
	Parallel    int    `default:"2" help:"Frames that a model works on at once."`
	Prefetch    int    `default:"0" help:"Most frames that are made ready for the model meanwhile; as many are as it needs to be busy. 0: as many as the CPUs of this process and 2."`
	Threads     int    `default:"0" help:"Threads that all inferences share; 0: as many as keep the CPUs of this process (cgroup) busy with --parallel inferences."`
	Onnxruntime string `placeholder:"FILE" help:"libonnxruntime; else it is looked for in the user's cache folder and in the system's places."`
	MaxPixels   int    `default:"25000000" help:"Pixels that a picture is decoded to at most: larger JPEGs are decoded at 1/2, 1/4 or 1/8, others refused."`

	InferDeadline time.Duration `default:"0" help:"After this time an inference is ended, and its frame goes to another worker; one that does not end, ends the program. 0: 20 times as long as they take, at least 10s."`
	WarmDeadline  time.Duration `default:"10m" help:"The same for the first inference with an input of some shape, for which a provider may take minutes."`

	Device         int    `default:"0" help:"cuda, tensorrt: which GPU, from 0."`
	GPUMemory      int64  `name:"gpu-memory" default:"0" help:"cuda: most memory of the GPU that ONNX Runtime takes, in MiB; 0: no bound."`
	TF32           bool   `name:"tf32" help:"cuda: TensorFloat-32 in matrix products: faster, with 10 bits of mantissa."`
	FP16           bool   `name:"fp16" help:"tensorrt: compute in half precision: faster; scores and depths differ a little from the CPU's."`
	TRTCache       string `name:"trt-cache" placeholder:"DIR" help:"tensorrt: folder of the engines that were built, which is made; else one in the user's cache folder."`
	StrictProvider bool   `help:"Refuse a model of which some nodes would run on the CPU."`
}

// Detection is what a detector's answer holds.
type Detection struct {
	Confidence float32 `default:"${confidence=0.25}" help:"detect: a box must score more than this, 0 to 1."`
	IoU        float32 `name:"iou" default:"0.7" help:"detect: of two boxes of a class whose IoU is above this, one goes; 0 to 1."`
	MaxDet     int     `default:"300" help:"detect: most boxes of a frame."`
	DetectSize int     `default:"640" help:"detect: longer side in pixels of the input of models of free size."`
}

// Depth is what a depth map is like.
type Depth struct {
	DepthSize int `default:"518" help:"depth: shorter side in pixels of the input of models of free size."`
	DepthBits int `default:"10" help:"depth: significant bits of a map's samples, 8 to 16."`
}

// Config is a worker's settings.
type Config struct {
	Group string    `default:"detect" help:"Group of the deployment that this worker belongs to."`
	Task  flow.Task `enum:",detect,depth" default:"" help:"What it answers: detect or depth. Without it: what the group's name says."`
	Model string    `placeholder:"FILE" help:"ONNX file: YOLOv8 and its family with a raw head for detect, Depth Anything V1 or V2 for depth."`

	Inference
	Detection
	Depth

	// ModelData, when set, is the model itself; Model then only names it.
	ModelData []byte `kong:"-"`
	// Shared, when set, is what the groups of one process share their decoded pictures by.
	Shared *picture.Shared `kong:"-"`
}

// Role is the worker's at NATS: that of its group.
func (c Config) Role() string { return c.Group }

// Validate returns [ErrConfig], naming the flag, when the settings can't be run.
func (c Config) Validate() error {
	switch {
	case flow.ValidGroup(c.Group) != nil:
		return fmt.Errorf("%w: --group: %w", ErrConfig, flow.ValidGroup(c.Group))
	case c.task() != flow.TaskDetect && c.task() != flow.TaskDepth:
		return fmt.Errorf("%w: what does group %q do? Give --task detect or --task depth", ErrConfig, c.Group)
	case c.Model == "":
		return fmt.Errorf("%w: no --model: give the ONNX file of group %s", ErrConfig, c.Group)
	case c.Parallel < 1 || c.Parallel > 256:
		return fmt.Errorf("%w: --parallel %d is not 1 to 256", ErrConfig, c.Parallel)
	case c.Prefetch < 0 || c.Prefetch > 256:
		return fmt.Errorf("%w: --prefetch %d is not 0 to 256", ErrConfig, c.Prefetch)
	case c.InferDeadline < 0 || c.InferDeadline > 0 && c.InferDeadline < 10*time.Millisecond:
		return fmt.Errorf("%w: --infer-deadline %v is not 10ms or more, or 0", ErrConfig, c.InferDeadline)
	case c.WarmDeadline < time.Second:
		return fmt.Errorf("%w: --warm-deadline %v is below 1s", ErrConfig, c.WarmDeadline)
	case c.MaxPixels < 1 || c.MaxPixels > bounds.MaxPixels:
		return fmt.Errorf("%w: --max-pixels %d is not 1 to %d", ErrConfig, c.MaxPixels, bounds.MaxPixels)
	case c.Device < 0 || c.GPUMemory < 0:
		return fmt.Errorf("%w: --device %d, --gpu-memory %d: at least 0", ErrConfig, c.Device, c.GPUMemory)
	case c.Threads < 0:
		return fmt.Errorf("%w: --threads %d is below 0", ErrConfig, c.Threads)
	case !(c.Confidence >= 0 && c.Confidence < 1):
		return fmt.Errorf("%w: --confidence %v is not 0 to 1", ErrConfig, c.Confidence)
	case !(c.IoU > 0 && c.IoU <= 1):
		return fmt.Errorf("%w: --iou %v is not 0 to 1", ErrConfig, c.IoU)
	case c.MaxDet < 1 || c.MaxDet > 3000:
		return fmt.Errorf("%w: --max-det %d is not 1 to 3000", ErrConfig, c.MaxDet)
	case c.DetectSize < 32 || c.DetectSize > 4096:
		return fmt.Errorf("%w: --detect-size %d is not 32 to 4096", ErrConfig, c.DetectSize)
	case c.DepthSize < 14 || c.DepthSize > 2048:
		return fmt.Errorf("%w: --depth-size %d is not 14 to 2048", ErrConfig, c.DepthSize)
	case c.DepthBits < depthmap.MinBits || c.DepthBits > depthmap.MaxBits:
		return fmt.Errorf("%w: --depth-bits %d is not %d to %d", ErrConfig, c.DepthBits, depthmap.MinBits, depthmap.MaxBits)
	}
	return nil
}

// task is what the group's workers do.
func (c Config) task() flow.Task { return flow.Group{Name: c.Group, Task: c.Task}.Does() }

// prefetch is how many frames of a mode may be in hand beyond those in the model. GOMAXPROCS follows the cgroup's CPU limit.
func (c Config) prefetch() int {
	if c.Prefetch > 0 {
		return c.Prefetch
	}
	return runtime.GOMAXPROCS(0) + 2
}

// most frames of a mode that are before the model or in it.
func (c Config) most() int { return c.Parallel + c.prefetch() }

// options are those of the engine.
func (c Config) options(log *slog.Logger) engine.Options {
	return engine.Options{
		Library: c.Onnxruntime, Provider: c.Provider, Threads: c.Threads, Runs: c.Parallel, Log: log,
		Device: c.Device, Memory: c.GPUMemory << 20, TF32: c.TF32, FP16: c.FP16, Cache: c.TRTCache, Strict: c.StrictProvider,
	}
}
