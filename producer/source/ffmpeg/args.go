package ffmpeg

import (
	"fmt"
	"slices"
	"strings"
)

// refused are options that would have ffmpeg read or write something else, or let it.
var refused = []string{
	"-i", "-y", "-f", "-protocol_whitelist", "-protocol_blacklist", "-format_whitelist", "-safe", "-map", "-filter_complex", "-filter_script",
	"-filter_complex_script", "-lavfi", "-vf", "-dump", "-report", "-progress", "-vstats", "-vstats_file", "-passlogfile", "-sdp_file", "-stats_enc_pre", "-stats_enc_post",
	"-attach", "-dump_attachment", "-loglevel", "-v", "-init_hw_device_file", "-headers", "-copyts", "-ss", "-sseof", "-t", "-to", "-itsoffset", "-stream_loop", "-re",
}

// DecodeArgs takes words apart that ffmpeg is given before its input, such as "-hwaccel cuda": options, each with its value.
// [ErrArgs] is returned for what begins with no option, and for options that name an input, an output or a protocol, or change
// which pictures come.
func DecodeArgs(words string) ([]string, error) {
	args := strings.Fields(words)
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return nil, fmt.Errorf("%w: %q begins with no option", ErrArgs, printable(args[0]))
	}
	for i, arg := range args {
		option, _, _ := strings.Cut(arg, ":")
		switch {
		case strings.HasPrefix(arg, "-") && slices.Contains(refused, option):
			return nil, fmt.Errorf("%w: %s is not for them", ErrArgs, printable(arg))
		case strings.Contains(arg, "://") || strings.Contains(arg, "protocol"):
			return nil, fmt.Errorf("%w: %s names a protocol", ErrArgs, printable(option))
		case !strings.HasPrefix(arg, "-") && i > 0 && !strings.HasPrefix(args[i-1], "-"):
			return nil, fmt.Errorf("%w: %q would be an output", ErrArgs, printable(arg))
		}
	}
	return args, nil
}
