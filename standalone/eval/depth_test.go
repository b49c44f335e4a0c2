package eval_test

import (
	"math"
	"testing"

	"github.com/spatial-flow/spatial-flow/standalone/eval"
)

// A map that is the inverse of the truth but for scale and shift leaves no error, and what is too far does not count.
func TestAlignFindsScaleAndShift(t *testing.T) {
	t.Parallel()
	truth := []float32{1, 2, 4, 5, 10, 40, 80, 200, float32(math.Inf(1))}
	values := make([]float32, len(truth))
	for i, metres := range truth {
		values[i] = 7 + 3/metres
	}
	values[7], values[8] = 1000, 0 // not judged
	a, e, err := eval.Align(values, truth)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(a.Scale-1.0/3) > 1e-6 || math.Abs(a.Shift+7.0/3) > 1e-5 || e.AbsRel > 1e-4 || math.Abs(e.Delta1-1) > 1e-9 {
		t.Errorf("alignment %+v, error %+v", a, e)
	}
	if metres := a.Metres(8.5); math.Abs(metres-2) > 1e-4 {
		t.Errorf("8.5 is %v m, want 2", metres)
	}
	if metres := a.Metres(0); metres != eval.FarthestMetres {
		t.Errorf("a value beyond the horizon is %v m, want %v", metres, eval.FarthestMetres)
	}
}

// Worked by hand: a constant map can only say the mean inverse depth, 1/1.6 per metre.
func TestAlignConstant(t *testing.T) {
	t.Parallel()
	a, e, err := eval.Align([]float32{3, 3}, []float32{1, 4})
	if err != nil {
		t.Fatal(err)
	}
	if a.Scale != 0 || a.Shift != 0.625 || math.Abs(e.AbsRel-(0.6+0.6)/2) > 1e-9 || e.Delta1 != 0 {
		t.Errorf("alignment %+v, error %+v", a, e)
	}
}

func TestAlignRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := eval.Align(make([]float32, 3), make([]float32, 4)); err == nil {
		t.Error("3 values for 4 pixels were compared")
	}
	if _, _, err := eval.Align([]float32{1, 2}, []float32{90, float32(math.Inf(1))}); err == nil {
		t.Error("nothing within reach was compared")
	}
}
