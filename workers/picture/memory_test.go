package picture_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// childPicture, in the environment, makes this program make inputs of that file, tell the most memory it had, and end.
const childPicture = "SPATIALFLOW_TEST_PICTURE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPicture); path != "" {
		if err := prepare(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// prepare makes of a picture what a detector and a depth model take, and prints its size and the process' peak of memory.
func prepare(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	p := picture.NewPicture()
	if err := p.Decode(data); err != nil {
		return err
	}
	if _, err := p.Letterbox(make([]float32, 3*640*640), 640, 640); err != nil {
		return err
	}
	width, height := picture.LowerBound(p.MaxPixels, p.MaxPixels, 518, 14)
	if err := p.Cubic(make([]float32, 3*width*height), width, height); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes := 0
	if _, err := fmt.Sscan(peak, &kilobytes); err != nil {
		return err
	}
	w, h := p.Size()
	fmt.Println(w, h, kilobytes)
	return nil
}

// A small file must not take a process' memory: what it takes is bounded before it is decoded.
func TestHugePictureTakesLittleMemory(t *testing.T) {
	t.Parallel()
	const most = 110 << 10 // kB beside what the program takes with a small picture
	small := 0
	for _, side := range []int{64, 4096, 8192} {
		m := image.NewGray(image.Rect(0, 0, side, side))
		for i := range m.Pix {
			m.Pix[i] = color.Gray{128}.Y
		}
		var out bytes.Buffer
		if err := jpeg.Encode(&out, m, nil); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "picture.jpg")
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childPicture+"="+path)
		printed, err := child.CombinedOutput()
		var width, height, kilobytes int
		if _, scanned := fmt.Sscan(string(printed), &width, &height, &kilobytes); err != nil || scanned != nil {
			t.Fatalf("%s (%v)", printed, err)
		}
		t.Logf("a JPEG of %dx%d in %d kB: %d MB", side, side, out.Len()>>10, kilobytes>>10)
		if width != side || height != side {
			t.Errorf("its size is %dx%d, want that of the file, %d", width, height, side)
		}
		if small == 0 {
			small = kilobytes
		}
		if kilobytes > small+most {
			t.Errorf("a JPEG of %dx%d takes %d MB, a small one %d", side, side, kilobytes>>10, small>>10)
		}
	}
}
