// Package workers runs a worker group's model over every frame whose plan names the group, and answers each frame
// with a result, even if that only says why there is none.
package workers

import (
	"fmt"
	"runtime"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// Inference is how models are run: the settings that every program with models in it has.
type Inference struct {
	Provider    string `enum:"cpu,cuda,tensorrt" default:"cpu" help:"ONNX Runtime execution provider: cpu, cuda or tensorrt (the latter two have not run on hardware yet)."`
	Parallel    int    `default:"2" help:"Frames that the model works on at once."`
	Prefetch    int    `default:"0" help:"Most frames that are made ready for the model meanwhile; 0: the CPUs of this process and 2. As many are taken as it needs to be busy."`
	Threads     int    `default:"0" help:"Threads of one inference; 0: the CPUs of this process (cgroup) shared among --parallel."`
	Onnxruntime string `placeholder:"FILE" help:"libonnxruntime; else it is looked for in the user's cache folder and in the system's places."`

	InferDeadline time.Duration `default:"0" help:"After this time an inference is ended and its frame goes to another worker; one that does not end, ends the worker. 0: 20 times as long as they take, at least 10 s."`
	WarmDeadline  time.Duration `default:"10m" help:"The same for the first inference of each shape of input, which a provider may take minutes for."`
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

// threads of one inference. GOMAXPROCS follows the cgroup's CPU limit.
func (c Config) threads() int {
	if c.Threads > 0 {
		return c.Threads
	}
	return max(1, runtime.GOMAXPROCS(0)/c.Parallel)
}

// prefetch is how many frames of a mode may be in hand beyond those in the model.
func (c Config) prefetch() int {
	if c.Prefetch > 0 {
		return c.Prefetch
	}
	return runtime.GOMAXPROCS(0) + 2
}

// most frames of a mode that are before the model or in it.
func (c Config) most() int { return c.Parallel + c.prefetch() }
