//go:build rigged

package workers

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/workers/engine"
)

// rigged makes the model of a program that is rigged for a test do what the environment says, without computing:
//
//	SPATIALFLOW_RIG_WORK=80ms       each run takes so much longer
//	SPATIALFLOW_RIG_FAIL_AFTER=50   after so many runs each one fails
//	SPATIALFLOW_RIG_HANG_AFTER=50   after so many runs none ends
//	SPATIALFLOW_RIG_NAN_AFTER=50    after so many runs the outputs are no numbers
func rigged(d device) device {
	r := &rig{device: d, fail: after("FAIL"), hang: after("HANG"), nan: after("NAN")}
	r.work, _ = time.ParseDuration(os.Getenv("SPATIALFLOW_RIG_WORK"))
	return r
}

type rig struct {
	device
	work            time.Duration
	runs            atomic.Int64
	fail, hang, nan int64
}

func after(what string) int64 {
	n, err := strconv.ParseInt(os.Getenv("SPATIALFLOW_RIG_"+what+"_AFTER"), 10, 64)
	if err != nil {
		return 1 << 62
	}
	return n
}

func (r *rig) Run(ctx context.Context, in tensors) ([]float32, []int64, error) {
	time.Sleep(r.work)
	run := r.runs.Add(1)
	if run > r.hang {
		select {}
	}
	if run > r.fail {
		return nil, nil, fmt.Errorf("%w: rigged: CUDA failure 700: an illegal memory access was encountered", engine.ErrRun)
	}
	output, shape, err := r.device.Run(ctx, in)
	if err == nil && run > r.nan {
		zero := float32(0)
		for i := range output {
			output[i] = zero / zero
		}
	}
	return output, shape, err
}
