package ffmpeg

// Layout is how the pixels of a picture lie: row after row from the top, without gaps.
type Layout struct {
	Width, Height int // pixels
	// Planar is I420: luma, then blue and red colour difference of half its size both ways, in ITU-R BT.601 of limited range.
	// Else each pixel is three bytes: blue, green, red.
	Planar bool
}

// Bytes that a picture takes.
func (l Layout) Bytes() int {
	if l.Planar {
		return l.Width * l.Height * 3 / 2
	}
	return l.Width * l.Height * 3
}

// planar is NUT's name for I420.
var planar = [4]byte{'I', '4', '2', '0'}

// output are the words behind the input: raw pictures with their time stamps, every one that there is, through this chain of filters
// (empty: none). Nothing of it comes to a file.
func output(filters string, planar bool) []string {
	args := []string{"-an", "-sn", "-dn", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-map_metadata", "-1"}
	if filters != "" {
		args = append(args, "-vf", filters)
	}
	format := "bgr24"
	if planar {
		format = "yuv420p"
	}
	// One thread to "encode": with more, each picture waits for the next. No index: it would grow for as long as a camera runs.
	return append(args, "-c:v", "rawvideo", "-threads", "1", "-pix_fmt", format, "-f", "nut", "-write_index", "0", "-avioflags", "direct", "-flush_packets", "1", "pipe:1")
}
