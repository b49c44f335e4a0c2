package detect

import "testing"

func TestIsAnchors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		anchors, width, height, largest int
		want                            bool
	}{
		{8400, 640, 640, 32, true},
		{34000, 640, 640, 32, true}, // 4 to 32
		{8500, 640, 640, 64, true},  // 8 to 64
		{2100, 320, 320, 32, true},
		{20160, 640, 384, 32, true}, // 4 to 16: the demo
		{5040, 640, 384, 32, true},
		{6400, 640, 640, 32, true}, // 8 alone
		{8401, 640, 640, 32, false},
		{85, 640, 640, 32, false},
		{6, 640, 640, 32, false},
		{0, 640, 640, 32, false},
	} {
		if got := isAnchors(test.anchors, test.width, test.height, test.largest); got != test.want {
			t.Errorf("%d anchors of %dx%d up to %d: %v", test.anchors, test.width, test.height, test.largest, got)
		}
	}
}
