package source

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// A picture of more pixels than are decoded is sent smaller where it is a JPEG that can't go as it is, and refused by name else.
func TestLargePictures(t *testing.T) {
	t.Parallel()
	large := image.NewGray(image.Rect(0, 0, 8192, 4096))
	var out bytes.Buffer
	if err := jpeg.Encode(&out, large, nil); err != nil {
		t.Fatal(err)
	}
	plain := bytes.Clone(out.Bytes())
	turned := append([]byte("\xff\xd8\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"), plain[2:]...)
	for name, test := range map[string]struct {
		data          []byte
		width, height int
		same          bool
	}{
		"a JPEG goes as it is":      {plain, 8192, 4096, true},
		"one on its side is halved": {turned, 2048, 4096, false},
	} {
		var p Picture
		if err := (Intake{Settings{Quality: 80}}).Fill(&p, test.data); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p.Finish()
		config, err := jpeg.DecodeConfig(bytes.NewReader(p.Data))
		if p.Broken != "" || err != nil || config.Width != test.width || config.Height != test.height || p.Width != test.width || p.Height != test.height {
			t.Errorf("%s: %s, %v: %dx%d, said to be %dx%d", name, p.Broken, err, config.Width, config.Height, p.Width, p.Height)
		}
		if bytes.Equal(p.Data, test.data) != test.same {
			t.Errorf("%s: the same bytes: %v", name, !test.same)
		}
	}

	out.Reset()
	if err := png.Encode(&out, large); err != nil {
		t.Fatal(err)
	}
	err := Intake{}.Fill(new(Picture), out.Bytes())
	if !errors.Is(err, picture.ErrLarge) || !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "PNG of 8192x4096, 33.6 million pixels") {
		t.Errorf("a PNG: %v, want ErrLarge", err)
	}

	p := Picture{Data: plain, Width: 8192, Height: 4096}
	if err := p.Shrink(50 << 10); err != nil || len(p.Data) > 50<<10 || p.Width > 4096 || p.Width != 2*p.Height {
		t.Errorf("shrunk: %v, %d bytes of %dx%d", err, len(p.Data), p.Width, p.Height)
	}
}
