package picture

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

func greyJPEG(t testing.TB, width, height int, shade uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, width, height))
	for i := range m.Pix {
		m.Pix[i] = shade
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sharedFrame(seq uint64, picture []byte, plan ...string) *flow.Frame {
	return &flow.Frame{Source: "cam", Session: "s", Seq: seq, Plan: plan, Picture: picture}
}

func groupPicture(t testing.TB) *Picture {
	t.Helper()
	p := NewPicture()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// shade is the value of the picture's first pixel.
func (p *Picture) shade(t testing.TB) uint8 {
	t.Helper()
	pixels, err := p.pixels.DataPtrUint8()
	if err != nil {
		t.Fatal(err)
	}
	return pixels[0]
}

func (s *Shared) wantNothing(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) != 0 || s.bytes != 0 {
		t.Errorf("%d pictures of %d bytes are held still", len(s.held), s.bytes)
	}
}

// It does not wait for a group that works elsewhere.
func TestSharedPictureIsDecodedOnce(t *testing.T) {
	t.Parallel()
	s, detect, depth := NewShared(flow.GroupDetect, flow.GroupDepth), groupPicture(t), groupPicture(t)
	if err := detect.DecodeFrame(s, sharedFrame(1, greyJPEG(t, 32, 16, 40), "detect", "depth", "pose"), "detect"); err != nil {
		t.Fatal(err)
	}
	// What the second group has in its hands is not looked at, but for its size.
	blank := make([]byte, len(greyJPEG(t, 32, 16, 40)))
	if err := depth.DecodeFrame(s, sharedFrame(1, blank, "detect", "depth", "pose"), "depth"); err != nil {
		t.Fatal(err)
	}
	if s.bytes != 3*32*16 {
		t.Errorf("%d bytes are in use, want those of one picture", s.bytes)
	}
	detect.Trim()
	if w, h := depth.Size(); w != 32 || h != 16 || depth.shade(t) != 40 {
		t.Errorf("the second group has %dx%d of shade %d", w, h, depth.shade(t))
	}
	depth.Trim()
	s.wantNothing(t)
	if w, h := depth.Size(); w != 0 || h != 0 {
		t.Errorf("after Trim it still has %dx%d", w, h)
	}
	// And a picture of its own after that.
	if err := depth.Decode(greyJPEG(t, 8, 8, 90)); err != nil || depth.shade(t) != 90 {
		t.Errorf("shade %d, %v", depth.shade(t), err)
	}
}

func TestSharedPictureThatIsNone(t *testing.T) {
	t.Parallel()
	good := greyJPEG(t, 64, 64, 1)
	cut := append(bytes.Clone(good[:len(good)/2]), 0xff, 0xd9)
	for name, data := range map[string][]byte{"nothing": nil, "no picture": []byte("hello"), "cut": cut[:40]} {
		s, detect, depth := NewShared(flow.GroupDetect, flow.GroupDepth), groupPicture(t), groupPicture(t)
		for group, p := range map[string]*Picture{"detect": detect, "depth": depth} {
			if err := p.DecodeFrame(s, sharedFrame(1, data, "detect", "depth"), group); !errors.Is(err, ErrPicture) {
				t.Errorf("%s: %s gets %v, want ErrPicture", name, group, err)
			}
			p.Trim()
		}
		s.wantNothing(t)
	}
}

func TestNotShared(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, s *Shared, p *Picture){
		"a group alone": func(t *testing.T, s *Shared, p *Picture) {
			if err := p.DecodeFrame(s, sharedFrame(1, greyJPEG(t, 8, 8, 7), "depth"), "depth"); err != nil || p.shade(t) != 7 {
				t.Errorf("shade %d, %v", p.shade(t), err)
			}
			s.wantNothing(t)
		},
		"a frame that comes to its group again": func(t *testing.T, s *Shared, p *Picture) {
			for _, shade := range []uint8{7, 9} {
				if err := p.DecodeFrame(s, sharedFrame(1, greyJPEG(t, 8, 8, shade), "detect", "depth"), "depth"); err != nil || p.shade(t) != shade {
					t.Errorf("shade %d, %v; want %d", p.shade(t), err, shade)
				}
				p.Trim()
			}
		},
		"no room": func(t *testing.T, s *Shared, p *Picture) {
			s.bytes = sharedBytes - 3*8*8 + 1
			for _, group := range []string{"detect", "depth"} {
				if err := p.DecodeFrame(s, sharedFrame(1, greyJPEG(t, 8, 8, 7), "detect", "depth"), group); err != nil || p.shade(t) != 7 {
					t.Errorf("%s: shade %d, %v", group, p.shade(t), err)
				}
				if len(s.held) > 0 || s.bytes > sharedBytes {
					t.Errorf("%s: %d pictures are held, %d bytes are counted", group, len(s.held), s.bytes)
				}
				p.Trim()
			}
			s.bytes -= sharedBytes - 3*8*8 + 1
			s.wantNothing(t)
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, NewShared(flow.GroupDetect, flow.GroupDepth), groupPicture(t)) })
	}
}

// A group that drops a frame never comes for its picture.
func TestSharedPictureDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := NewShared(flow.GroupDetect, flow.GroupDepth), groupPicture(t)
		// decode is the number of pictures that are held after another one.
		decode := func(seq uint64) int {
			t.Helper()
			if err := p.DecodeFrame(s, sharedFrame(seq, greyJPEG(t, 8, 8, 7), "detect", "depth"), "detect"); err != nil {
				t.Fatal(err)
			}
			p.Trim()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.held)
		}
		decode(1)
		time.Sleep(sharedFor / 2)
		if n := decode(2); n != 2 {
			t.Errorf("%d are held, want 2", n)
		}
		time.Sleep(sharedFor/2 + time.Millisecond)
		if n := decode(3); n != 2 {
			t.Errorf("%d are held, want the second and the third", n)
		}
		time.Sleep(2 * sharedFor) // and no frame comes any more
		s.wantNothing(t)
	})
}

// Frames that are repeated under the same ID are not told by it alone.
func TestSharedPictureIsThatOfTheFrame(t *testing.T) {
	t.Parallel()
	s, detect, depth := NewShared(flow.GroupDetect, flow.GroupDepth), groupPicture(t), groupPicture(t)
	first, other := sharedFrame(1, greyJPEG(t, 8, 8, 10), "detect", "depth"), sharedFrame(1, greyJPEG(t, 9, 99, 30), "detect", "depth")
	live := sharedFrame(1, greyJPEG(t, 8, 8, 12), "detect", "depth")
	live.Mode = flow.ModeLive
	if len(live.Picture) != len(first.Picture) || len(other.Picture) == len(first.Picture) {
		t.Fatalf("choose other pictures: of %d, %d and %d bytes", len(first.Picture), len(live.Picture), len(other.Picture))
	}
	if err := detect.DecodeFrame(s, first, "detect"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		frame *flow.Frame
		want  uint8
	}{{live, 12}, {other, 30}, {first, 10}} {
		if err := depth.DecodeFrame(s, test.frame, "depth"); err != nil || depth.shade(t) != test.want {
			t.Errorf("shade %d, %v; want %d", depth.shade(t), err, test.want)
		}
	}
}

// What can't be decoded holds on to no picture of before.
func TestSharedPictureThatIsNoneHoldsNothing(t *testing.T) {
	t.Parallel()
	s, p := NewShared(flow.GroupDetect, flow.GroupDepth), groupPicture(t)
	if err := p.Decode(greyJPEG(t, 64, 64, 1)); err != nil {
		t.Fatal(err)
	}
	bad := sharedFrame(1, []byte("no picture"), "detect", "depth")
	if err := p.DecodeFrame(s, bad, "detect"); !errors.Is(err, ErrPicture) {
		t.Fatal(err)
	}
	for _, d := range s.held {
		if d.pixels.Ptr() != nil {
			t.Errorf("a picture of %dx%d is held, and %d bytes are counted", d.pixels.Cols(), d.pixels.Rows(), s.bytes)
		}
	}
}

func TestSharedByManyAtOnce(t *testing.T) {
	t.Parallel()
	s := NewShared("detect", "depth", "pose")
	const frames = 60
	var data [frames][]byte
	for i := range data {
		data[i] = greyJPEG(t, 16, 16, uint8(4*i))
	}
	var slots sync.WaitGroup
	for _, group := range []string{"detect", "depth", "pose"} {
		queue := make(chan int, frames)
		for i := range frames {
			queue <- i
		}
		close(queue)
		for range 2 {
			p := groupPicture(t)
			slots.Go(func() {
				for i := range queue {
					err := p.DecodeFrame(s, sharedFrame(uint64(i+1), data[i], "detect", "depth", "pose"), group)
					if got := p.shade(t); err != nil || got != uint8(4*i) {
						t.Errorf("%s: frame %d has shade %d, %v", group, i+1, got, err)
					}
					p.Trim()
				}
			})
		}
	}
	slots.Wait()
	s.wantNothing(t)
}
