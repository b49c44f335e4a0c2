package standalone

import (
	"fmt"
	"os"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/standalone/pipeline"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// None is what --detect-model and --depth-model say to leave a group out.
const None = "none"

// Models are the flags of commands that run the models in this process.
type Models struct {
	DetectModel    string `placeholder:"FILE" help:"ONNX file of the detection group (YOLOv8 family, raw head); none leaves the group out. Without it: a small model trained on the generated street."`
	DepthModel     string `placeholder:"FILE" help:"ONNX file of the depth group (Depth Anything V1 or V2); none leaves the group out. Without it: a small model trained on the generated street."`
	DetectProvider string `enum:",cpu,cuda,tensorrt" default:"" help:"Execution provider of the detection group alone; without it: --provider."`
	DepthProvider  string `enum:",cpu,cuda,tensorrt" default:"" help:"Execution provider of the depth group alone; without it: --provider."`

	workers.Inference
	workers.Detection
	workers.Depth
}

// groups are detect and depth, and the settings of those that are not left out. [ErrUsage] or [ErrNoModel] is returned, with the
// way out, when they can't be run.
func (m *Models) groups() (groups flow.Groups, run []workers.Config, err error) {
	for i, group := range []struct{ name, model, provider string }{
		{flow.GroupDetect, m.DetectModel, m.DetectProvider}, {flow.GroupDepth, m.DepthModel, m.DepthProvider},
	} {
		groups = append(groups, flow.Group{Name: group.name, Slot: i + 1, Off: group.model == None})
		if group.model == None {
			continue
		}
		var cfg workers.Config
		if err := service.Defaults(&cfg); err != nil {
			return nil, nil, err
		}
		cfg.Group, cfg.Model = group.name, group.model
		cfg.Inference, cfg.Detection, cfg.Depth = m.Inference, m.Detection, m.Depth
		if group.provider != "" {
			cfg.Provider = group.provider
		}
		if group.model == "" {
			cfg.Model, cfg.ModelData = models.Demo(group.name)
		} else if info, err := os.Stat(group.model); err != nil {
			return nil, nil, fmt.Errorf("%w: --%s-model: %w", ErrUsage, group.name, err)
		} else if info.IsDir() {
			return nil, nil, fmt.Errorf("%w: --%s-model: %s is a folder, give the .onnx file in it", ErrUsage, group.name, group.model)
		}
		if err := cfg.Validate(); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
		run = append(run, cfg)
	}
	if len(run) == 0 {
		return nil, nil, fmt.Errorf("%w: detection and depth are both left out: give one of --detect-model and --depth-model a file, or nothing for the demo model", ErrNoModel)
	}
	return groups, run, nil
}

// lossless is a pipeline that gives every scene of the sources, in order, to the sink, and ends: without a gateway, so that it
// opens no port.
func (m *Models) lossless(sink pipeline.SceneSink, sources ...string) (pipeline.Config, error) {
	cfg, err := pipeline.Default()
	if err != nil {
		return cfg, err
	}
	cfg.Gateway, cfg.Sink = nil, sink
	cfg.Producer.Sources, cfg.Producer.Mode, cfg.Producer.ExitWhenDone, cfg.Producer.Unpaced = sources, flow.ModeLossless, true, true
	if cfg.Groups, cfg.Workers, err = m.groups(); err != nil {
		return cfg, err
	}
	if err := cfg.Producer.Validate(); err != nil {
		return cfg, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return cfg, nil
}
