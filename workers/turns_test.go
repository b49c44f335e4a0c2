package workers

import (
	"context"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Live frames come first, but at least every tenth frame is a lossless one while any waits.
func TestTurns(t *testing.T) {
	t.Parallel()
	live, lossless := make(chan offer, 100), make(chan offer, 100)
	for range 100 {
		live <- offer{}
		lossless <- offer{}
	}
	var order string
	for row := 0; len(order) < 40; row++ {
		_, mode, ok := nextOffer(t.Context(), live, lossless, row)
		if !ok {
			t.Fatal("it ended")
		}
		if mode == flow.ModeLossless {
			row = -1
		}
		order += map[flow.Mode]string{flow.ModeLive: "l", flow.ModeLossless: "F"}[mode]
	}
	if want := "lllllllllFlllllllllFlllllllllFlllllllllF"; order != want {
		t.Errorf("order %s, want %s", order, want)
	}
	for _, alone := range []struct {
		live, lossless chan offer
		want           flow.Mode
	}{{live, nil, flow.ModeLive}, {nil, lossless, flow.ModeLossless}} {
		for _, row := range []int{0, liveInARow} {
			if _, mode, ok := nextOffer(t.Context(), alone.live, alone.lossless, row); !ok || mode != alone.want {
				t.Errorf("after %d live ones, with only %s waiting, it takes %q, %v", row, alone.want, mode, ok)
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, ok := nextOffer(ended, nil, nil, 0); ok {
		t.Error("it took something after the end")
	}
}
