package workers_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers"
)

func TestValidateTakesItsBounds(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	for _, test := range []struct {
		flag string // that is named when it is refused
		fix  string // and what is said of it
		bad  func(*workers.Config)
		good []func(*workers.Config)
	}{
		{"--task", `what does group "segment" do`, func(c *workers.Config) { c.Group = "segment" }, []func(*workers.Config){
			func(c *workers.Config) { c.Group = estimates }, func(c *workers.Config) { c.Group, c.Task = "segment", flow.TaskDetect },
		}},
		{"--task", "detect or --task depth", func(c *workers.Config) { c.Task = flow.TaskOther }, nil},
		{"--group", "has 0 characters", func(c *workers.Config) { c.Group = "" }, nil},
		{"--model", "give the ONNX file of group detect", func(c *workers.Config) { c.Model = "" }, nil},
		{"--parallel", "1 to 256", func(c *workers.Config) { c.Parallel = 0 }, []func(*workers.Config){func(c *workers.Config) { c.Parallel = 1 }}},
		{"--parallel", "1 to 256", func(c *workers.Config) { c.Parallel = 257 }, []func(*workers.Config){func(c *workers.Config) { c.Parallel = 256 }}},
		{"--threads", "below 0", func(c *workers.Config) { c.Threads = -1 }, []func(*workers.Config){func(c *workers.Config) { c.Threads = 0 }}},
		{"--confidence", "0 to 1", func(c *workers.Config) { c.Confidence = -0.1 }, []func(*workers.Config){func(c *workers.Config) { c.Confidence = 0 }}},
		{"--confidence", "0 to 1", func(c *workers.Config) { c.Confidence = 1 }, nil},
		{"--confidence", "0 to 1", func(c *workers.Config) { c.Confidence = nan }, nil},
		{"--iou", "0 to 1", func(c *workers.Config) { c.IoU = 0 }, []func(*workers.Config){func(c *workers.Config) { c.IoU = 0.01 }}},
		{"--iou", "0 to 1", func(c *workers.Config) { c.IoU = 1.01 }, []func(*workers.Config){func(c *workers.Config) { c.IoU = 1 }}},
		{"--iou", "0 to 1", func(c *workers.Config) { c.IoU = nan }, nil},
		{"--max-det", "1 to 3000", func(c *workers.Config) { c.MaxDet = 0 }, []func(*workers.Config){func(c *workers.Config) { c.MaxDet = 1 }}},
		{"--max-det", "1 to 3000", func(c *workers.Config) { c.MaxDet = 3001 }, []func(*workers.Config){func(c *workers.Config) { c.MaxDet = 3000 }}},
		{"--detect-size", "32 to 4096", func(c *workers.Config) { c.DetectSize = 31 }, []func(*workers.Config){func(c *workers.Config) { c.DetectSize = 32 }}},
		{"--detect-size", "32 to 4096", func(c *workers.Config) { c.DetectSize = 4097 }, []func(*workers.Config){func(c *workers.Config) { c.DetectSize = 4096 }}},
		{"--depth-size", "14 to 2048", func(c *workers.Config) { c.DepthSize = 13 }, []func(*workers.Config){func(c *workers.Config) { c.DepthSize = 14 }}},
		{"--depth-size", "14 to 2048", func(c *workers.Config) { c.DepthSize = 2049 }, []func(*workers.Config){func(c *workers.Config) { c.DepthSize = 2048 }}},
		{"--depth-bits", "8 to 16", func(c *workers.Config) { c.DepthBits = 7 }, []func(*workers.Config){func(c *workers.Config) { c.DepthBits = 8 }}},
		{"--depth-bits", "8 to 16", func(c *workers.Config) { c.DepthBits = 17 }, []func(*workers.Config){func(c *workers.Config) { c.DepthBits = 16 }}},
	} {
		cfg := settings(t, detects)
		test.bad(&cfg)
		err := cfg.Validate()
		if !errors.Is(err, workers.ErrConfig) || !strings.Contains(err.Error(), test.flag) || !strings.Contains(err.Error(), test.fix) {
			t.Errorf("%v, want ErrConfig that names %s and says %q", err, test.flag, test.fix)
		}
		for _, change := range test.good {
			cfg := settings(t, detects)
			change(&cfg)
			if err := cfg.Validate(); err != nil {
				t.Errorf("a bound of %s: %v", test.flag, err)
			}
		}
	}
}

func TestDefaultsNeedOnlyAModel(t *testing.T) {
	t.Parallel()
	for _, group := range []string{detects, estimates} {
		if err := settings(t, group).Validate(); err != nil {
			t.Errorf("%s: %v", group, err)
		}
	}
}
