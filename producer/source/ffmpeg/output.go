package ffmpeg

// output are the words behind the input: raw pictures with their time stamps, every one that there is, through this chain of filters
// (empty: none). Nothing of it comes to a file.
func output(filters string) []string {
	args := []string{"-an", "-sn", "-dn", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-map_metadata", "-1"}
	if filters != "" {
		args = append(args, "-vf", filters)
	}
	// One thread to "encode": with more, each picture waits for the next.
	return append(args, "-c:v", "rawvideo", "-threads", "1", "-pix_fmt", "bgr24", "-f", "nut", "-write_index", "0", "-avioflags", "direct", "-flush_packets", "1", "pipe:1")
}
