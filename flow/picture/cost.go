package picture

import "image/color"

// Cost is how many bytes of memory [File.Decode] takes at most, by what the file says of itself; the file is not counted.
func (f File) Cost() int64 { return int64(f.Width) * int64(f.Height) * int64(f.perPixel) }

const rgba = 4 // bytes a pixel of what Decode returns

// bytesPerPixel is what decoding takes for each pixel, with the picture that Decode makes of it.
func (f File) bytesPerPixel(model color.Model) int {
	own := modelBytes(model)
	switch f.Kind {
	case JPEG:
		own = jpegBytes(f.data, f.inks)
	case PNG:
		const interlaced = 28 // where the header says so
		if len(f.data) > interlaced && f.data[interlaced] != 0 {
			own *= 2 // its passes are pictures of their own
		}
	case TIFF:
		own *= 4 // a strip may be all of it, and is read into a buffer that grows
	case WebP:
		own = 8
	case BMP:
		own = 4
	}
	return own + rgba
}

// modelBytes is what a pixel of a colour model takes.
func modelBytes(model color.Model) int {
	switch model {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBAModel, color.NRGBAModel, color.CMYKModel:
		return 4
	}
	if _, indexed := model.(color.Palette); indexed {
		return 1
	}
	return 8
}

// jpegBytes is what image/jpeg takes for each pixel of a JPEG: its samples, the coefficients of a progressive one, of 4 bytes
// each, and the inks, which are put together from their samples.
func jpegBytes(data []byte, inks bool) int {
	const progressive = 0xc2
	for marker, content := range jpegSegments(data) {
		if !isFrame(marker) || len(content) < 6 {
			continue
		}
		most, all := 1, 0 // samples of a component, and of all, in what is coded at once
		for component := content[6:]; len(component) >= 3; component = component[3:] {
			samples := int(component[1]>>4) * int(component[1]&15)
			most, all = max(most, samples), all+samples
		}
		size := (all + most - 1) / most
		if marker == progressive {
			size += (4*all + most - 1) / most
		}
		if inks {
			size += rgba
		}
		return size
	}
	return 4 * rgba
}
