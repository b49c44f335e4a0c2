package engine

import (
	"errors"
	"strings"
	"testing"
)

func TestProviderHint(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"Failed to load library libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot open shared object file": "--gpus all",
		"CUDA execution provider is not enabled in this build":                                                             "may lack it",
	} {
		if hint := providerHint(errors.New(said)); !strings.Contains(hint, want) {
			t.Errorf("%s: %s", said, hint)
		}
	}
}
