package engine

import (
	"fmt"
	"os"
	"path/filepath"

	ort "github.com/yalue/onnxruntime_go"
)

// providerSettings are the options that an execution provider is given; nil for cpu.
// https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and TensorRT-ExecutionProvider.html.
// Neither has run on hardware yet.
func providerSettings(provider, cache string) (map[string]string, error) {
	switch provider {
	case "cpu":
		return nil, nil
	case "cuda":
		return map[string]string{
			"cudnn_conv_algo_search": "HEURISTIC", // exhaustive search would start again for every input size
			"arena_extend_strategy":  "kSameAsRequested",
		}, nil
	case "tensorrt":
		return map[string]string{
			"trt_fp16_enable":         "1",
			"trt_engine_cache_enable": "1", // the first build takes minutes
			"trt_engine_cache_path":   cache,
		}, nil
	}
	return nil, fmt.Errorf("unknown, want cpu, cuda or tensorrt")
}

func appendProvider(options *ort.SessionOptions, provider string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	settings, err := providerSettings(provider, filepath.Join(cache, "spatial-flow", "tensorrt"))
	if err != nil || settings == nil {
		return err
	}
	if provider == "cuda" {
		cuda, err := ort.NewCUDAProviderOptions()
		if err != nil {
			return err
		}
		defer cuda.Destroy()
		if err := cuda.Update(settings); err != nil {
			return err
		}
		return options.AppendExecutionProviderCUDA(cuda)
	}
	tensorrt, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer tensorrt.Destroy()
	if err := tensorrt.Update(settings); err != nil {
		return err
	}
	return options.AppendExecutionProviderTensorRT(tensorrt)
}
