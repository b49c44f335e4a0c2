package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// The execution providers.
const (
	CPU      = "cpu"
	CUDA     = "cuda"
	TensorRT = "tensorrt"
)

// cudaSettings are the options of CUDA, also where it stands behind TensorRT.
// https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html; not run on hardware yet.
func cudaSettings(o Options) map[string]string {
	settings := map[string]string{
		"device_id":              strconv.Itoa(o.Device),
		"cudnn_conv_algo_search": "HEURISTIC", // exhaustive search would start again for every input size
		"arena_extend_strategy":  "kSameAsRequested",
		"use_tf32":               flag(o.TF32),
	}
	if o.Memory > 0 {
		settings["gpu_mem_limit"] = strconv.FormatInt(o.Memory, 10)
	}
	return settings
}

// tensorRTSettings are the options of TensorRT.
// https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html; not run on hardware yet.
func tensorRTSettings(o Options, cache string) map[string]string {
	return map[string]string{
		"device_id":               strconv.Itoa(o.Device),
		"trt_fp16_enable":         flag(o.FP16),
		"trt_engine_cache_enable": "1", // the first build takes minutes
		"trt_engine_cache_path":   cache,
		"trt_timing_cache_enable": "1",
		"trt_timing_cache_path":   cache,
	}
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// cacheFolder is where TensorRT keeps what it has built. ONNX Runtime makes the last folder of a path only.
func cacheFolder(o Options) (string, error) {
	folder := o.Cache
	if folder == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			user = os.TempDir()
		}
		folder = filepath.Join(user, "spatial-flow", "tensorrt")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("folder of built engines (--trt-cache): %w", err)
	}
	return folder, nil
}

func appendProvider(options *ort.SessionOptions, o Options) error {
	switch o.Provider {
	case CPU:
		return nil
	case CUDA:
		return appendCUDA(options, o)
	case TensorRT:
		if err := appendTensorRT(options, o); err != nil {
			return err
		}
		return appendCUDA(options, o) // for what TensorRT does not take
	}
	return fmt.Errorf("unknown, want cpu, cuda or tensorrt")
}

func appendCUDA(options *ort.SessionOptions, o Options) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy()
	if err := cuda.Update(cudaSettings(o)); err != nil {
		return err
	}
	return options.AppendExecutionProviderCUDA(cuda)
}

func appendTensorRT(options *ort.SessionOptions, o Options) error {
	cache, err := cacheFolder(o)
	if err != nil {
		return err
	}
	tensorrt, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer tensorrt.Destroy()
	if err := tensorrt.Update(tensorRTSettings(o, cache)); err != nil {
		return err
	}
	return options.AppendExecutionProviderTensorRT(tensorrt)
}

// providerError is an error of an execution provider, with the way out.
func providerError(provider string, err error) error {
	return fmt.Errorf("%w %s: %w (%s; --provider cpu always works)", ErrProvider, provider, err, providerHint(err))
}

// providerHint is what usually is behind an error of an execution provider.
func providerHint(err error) string {
	says := strings.ToLower(err.Error())
	if strings.Contains(says, "libcuda.so") || strings.Contains(says, "no cuda-capable device") || strings.Contains(says, "cuda failure 100") {
		return "no NVIDIA driver or GPU here: give the container one (docker run --gpus all, nvidia.com/gpu in Kubernetes)"
	}
	return "this libonnxruntime or machine may lack it"
}
