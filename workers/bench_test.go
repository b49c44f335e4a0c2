package workers_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/models"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// BenchmarkFrame is what a slot does to a frame of 768x576 with the models of no cost: all but its way from NATS and
// the result's way back. The time of each step is told beside it.
func BenchmarkFrame(b *testing.B) {
	m := image.NewRGBA(image.Rect(0, 0, 768, 576))
	noise := uint32(1)
	for i := range 768 * 576 {
		noise = noise*1664525 + 1013904223
		m.SetRGBA(i%768, i/768, color.RGBA{uint8(i % 768 / 3), uint8(i / 768 / 3), uint8(noise >> 28), 255})
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, m, &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	b.Run(detects, func(b *testing.B) {
		session := openSession(b, engine.File{Name: "nocost_detect.onnx", Data: models.NoCostDetect})
		model, err := detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 640})
		if err != nil {
			b.Fatal(err)
		}
		benchmarkFrame(b, data.Bytes(), session, model)
	})
	b.Run(estimates+"252", func(b *testing.B) {
		session := openSession(b, engine.File{Name: "nocost_depth.onnx", Data: models.NoCostDepth})
		model, err := depth.Open(session.Graph, depth.Settings{Size: 252, Bits: depthmap.DefaultBits})
		if err != nil {
			b.Fatal(err)
		}
		benchmarkFrame(b, data.Bytes(), session, model)
	})
}

func benchmarkFrame(b *testing.B, data []byte, session *engine.Session, model answerer) {
	picture := picture.NewPicture()
	defer picture.Close()
	steps, last := map[string]int64{}, b.Elapsed()
	lap := func(step string) {
		now := b.Elapsed()
		steps[step] += (now - last).Nanoseconds()
		last = now
	}
	b.ReportAllocs()
	for b.Loop() {
		last = b.Elapsed()
		if err := picture.Decode(data); err != nil {
			b.Fatal(err)
		}
		lap("decode")
		height, width, err := model.Shape(picture.Size())
		if err != nil {
			b.Fatal(err)
		}
		tensors, err := session.Tensors([4]int{1, 3, height, width})
		if err != nil {
			b.Fatal(err)
		}
		fit, err := model.Prepare(picture, tensors.Input(), height, width)
		if err != nil {
			b.Fatal(err)
		}
		lap("preprocess")
		output, shape, err := session.Run(context.Background(), tensors)
		if err != nil {
			b.Fatal(err)
		}
		lap("infer")
		if err := model.Answer(output, shape, fit, new(flow.Result)); err != nil {
			b.Fatal(err)
		}
		lap("postprocess")
		tensors.Release()
	}
	for step, spent := range steps {
		b.ReportMetric(float64(spent)/float64(b.N)/1e3, step+"-µs/op")
	}
}
