package engine_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// What is read out of a file is what ONNX Runtime says of it once it is loaded.
func TestReadAgreesWithONNXRuntime(t *testing.T) {
	t.Parallel()
	open(t, depthModel) // loads the library
	files := map[string]string{
		"nocost_detect.onnx": writeFile(t, "nocost_detect.onnx", models.NoCostDetect),
		"nocost_depth.onnx":  writeFile(t, "nocost_depth.onnx", models.NoCostDepth),
	}
	folder, there := reference.Part(t)
	for _, pattern := range []string{"vectors/*/model.onnx", "models/*.onnx"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || there && len(found) == 0 {
			t.Fatalf("no models in %s: %v", folder, err)
		}
		for _, path := range found {
			files[path] = path
		}
	}
	for name, path := range files {
		got, err := engine.Read(engine.File{Path: path})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		options, err := ort.NewSessionOptions()
		if err != nil {
			t.Fatal(err)
		}
		if err := options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil { // its weights are not wanted
			t.Fatal(err)
		}
		inputs, outputs, err := ort.GetInputOutputInfoWithOptions(path, options)
		if err != nil {
			t.Fatal(err)
		}
		metadata, err := ort.GetModelMetadataWithOptions(path, options)
		if err != nil {
			t.Fatal(err)
		}
		want := engine.Graph{Name: filepath.Base(path), Inputs: values(inputs), Outputs: values(outputs), Metadata: map[string]string{}}
		keys, err := metadata.GetCustomMetadataMapKeys()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			value, _, err := metadata.LookupCustomMetadataMap(key)
			if err != nil {
				t.Fatal(err)
			}
			want.Metadata[key] = value
		}
		_ = metadata.Destroy()
		_ = options.Destroy()
		for i, output := range got.Outputs { // ONNX Runtime finds out more sides than the file tells
			for side := range output.Shape {
				if output.Shape[side] < 0 && len(want.Outputs[i].Shape) == len(output.Shape) {
					want.Outputs[i].Shape[side] = -1
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, want)
		}
	}
}

func values(infos []ort.InputOutputInfo) []engine.Value {
	list := make([]engine.Value, len(infos))
	for i, info := range infos {
		list[i] = engine.Value{Name: info.Name, Float: info.DataType == ort.TensorElementDataTypeFloat, Shape: info.Dimensions}
	}
	return list
}

func FuzzRead(f *testing.F) {
	for _, data := range [][]byte{models.NoCostDetect, models.NoCostDepth, models.NoCostDepth[:100], []byte("version https://git-lfs"), {}} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		graph, err := engine.Read(engine.File{Name: "fuzz.onnx", Data: data})
		if (err == nil) != (len(graph.Inputs) > 0 && len(graph.Outputs) > 0) {
			t.Fatalf("%+v, %v", graph, err)
		}
	})
}

// BenchmarkOpen is loading a model, as a file.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "nocost_detect.onnx")
	if err := os.WriteFile(path, models.NoCostDetect, 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		session, err := engine.Open(engine.File{Path: path}, cpu)
		if err != nil {
			b.Fatal(err)
		}
		if err := session.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
