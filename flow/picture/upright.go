package picture

import (
	"image"
	"image/color"
	"image/draw"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// stripRows is how many rows of a picture one core works on at a time.
const stripRows = 64

// upright puts a picture on the background and turns it, on all cores.
func (f File) upright(img image.Image) *image.RGBA {
	from := img.Bounds()
	if whole, ok := img.(*image.RGBA); ok && f.orientation == 1 && from.Min == (image.Point{}) && whole.Opaque() {
		return whole
	}
	size := from.Size()
	if f.orientation >= 5 {
		size.X, size.Y = size.Y, size.X
	}
	out := image.NewRGBA(image.Rectangle{Max: size})
	var strips errgroup.Group
	strips.SetLimit(runtime.GOMAXPROCS(0))
	for top := from.Min.Y; top < from.Max.Y; top += stripRows {
		strips.Go(func() error {
			part := image.Rect(from.Min.X, top, from.Max.X, min(top+stripRows, from.Max.Y))
			if f.orientation == 1 {
				flatten(out, part.Sub(from.Min), img, part.Min)
				return nil
			}
			strip := image.NewRGBA(part.Sub(from.Min))
			flatten(strip, strip.Rect, img, part.Min)
			f.turn(out, strip)
			return nil
		})
	}
	_ = strips.Wait() // no strip fails
	return out
}

// flatten draws a part of img, which lies at that point there, on the background.
func flatten(out *image.RGBA, part image.Rectangle, img image.Image, at image.Point) {
	draw.Draw(out, part, image.NewUniform(Background), image.Point{}, draw.Src)
	switch img := img.(type) {
	case placed:
		offset := part.Min.Sub(at)
		visible := img.Image.Bounds().Add(offset).Intersect(part)
		if !visible.Empty() {
			drawOver(out, visible, img.Image, visible.Min.Sub(offset))
		}
	default:
		drawOver(out, part, img, at)
	}
}

func drawOver(out *image.RGBA, part image.Rectangle, img image.Image, at image.Point) {
	var colour func(x, y int) color.NRGBA
	switch img := img.(type) {
	case *image.Paletted:
		colour = palette(img)
	case videoRange:
		colour = img.at
	default:
		draw.Draw(out, part, img, at, draw.Over)
		return
	}
	for y := range part.Dy() {
		row := out.Pix[out.PixOffset(part.Min.X, part.Min.Y+y):]
		for x := range part.Dx() {
			c := colour(at.X+x, at.Y+y)
			pixel := row[4*x : 4*x+3]
			pixel[0], pixel[1], pixel[2] = over(c.R, c.A, Background.R), over(c.G, c.A, Background.G), over(c.B, c.A, Background.B)
		}
	}
}

func over(c, alpha, background uint8) uint8 {
	return uint8((uint32(c)*uint32(alpha) + uint32(background)*(255-uint32(alpha)) + 127) / 255)
}

func palette(img *image.Paletted) func(x, y int) color.NRGBA {
	var colours [256]color.NRGBA
	for i, c := range img.Palette {
		colours[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
	}
	return func(x, y int) color.NRGBA { return colours[img.Pix[img.PixOffset(x, y)]] }
}

// turn puts a strip, whose place is that in the picture as it is stored, where the orientation (2 to 8) says.
func (f File) turn(out, strip *image.RGBA) {
	right, bottom := f.Width-1, f.Height-1
	for y := strip.Rect.Min.Y; y < strip.Rect.Max.Y; y++ {
		row := strip.Pix[strip.PixOffset(0, y):]
		for x := range strip.Rect.Dx() {
			var to image.Point
			switch f.orientation {
			case 2:
				to = image.Pt(right-x, y)
			case 3:
				to = image.Pt(right-x, bottom-y)
			case 4:
				to = image.Pt(x, bottom-y)
			case 5:
				to = image.Pt(y, x)
			case 6:
				to = image.Pt(right-y, x)
			case 7:
				to = image.Pt(right-y, bottom-x)
			case 8:
				to = image.Pt(y, bottom-x)
			}
			*(*[4]byte)(out.Pix[out.PixOffset(to.X, to.Y):]) = [4]byte(row[4*x:])
		}
	}
}
