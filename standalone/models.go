package standalone

import "github.com/spatial-flow/spatial-flow/flow"

// Models are the flags of commands that run the models in this process.
type Models struct {
	DetectModel string `placeholder:"FILE" help:"ONNX file of the detection group (YOLOv8 family, raw head); none leaves the group out. Without it: a small model trained on the generated street."`
	DepthModel  string `placeholder:"FILE" help:"ONNX file of the depth group (Depth Anything V1 or V2); none leaves the group out. Without it: a small model trained on the generated street."`
	DepthSize   int    `default:"518" help:"Shorter side, in pixels, of the depth model's input, for models of free size."`
	Provider    string `enum:"cpu,cuda,tensorrt" default:"cpu" help:"ONNX Runtime execution provider: cpu, cuda or tensorrt (the latter two have not run on hardware yet)."`
	Parallel    int    `default:"2" help:"Frames that each group works on at once."`
	Threads     int    `default:"0" help:"Threads of one inference; 0: the CPUs of this process (cgroup) shared among --parallel."`
	Onnxruntime string `placeholder:"FILE" help:"libonnxruntime; else it is looked for in the user's cache folder (make install puts it there) and in the system's places."`
}

// lossless is a pipeline that gives every scene of the sources, in order, to the sink, and ends.
func (m *Models) lossless(confidence float32, sink sceneSink, sources ...string) *Up {
	return &Up{
		Source: sources, Mode: flow.ModeLossless, Models: *m, Confidence: confidence,
		HTTP: "127.0.0.1:0", Window: 16, Quality: 90, ExitWhenDone: true, sink: sink, unpaced: true,
	}
}
