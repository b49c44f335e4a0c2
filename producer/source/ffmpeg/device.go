package ffmpeg

import (
	"context"
	"time"
)

// DeviceOptions are what a camera device is read with.
type DeviceOptions struct {
	// Silence is how long no picture may come while one is waited for; 0: as long as it takes.
	Silence time.Duration
	// Args are further words before the input: see [DecodeArgs].
	Args []string
}

// OpenDevice starts an ffmpeg that reads a Video4Linux device, such as /dev/video0, at the size and rate that the device has. Its time
// stamps are from the first picture on. [ErrNoProgram] is returned when ffmpeg is not installed; that there is no such device, or that
// it gives no pictures, is said by the first Next.
func OpenDevice(ctx context.Context, path string, o DeviceOptions) (*Decoder, error) {
	args := []string{"-nostdin", "-hide_banner", "-loglevel", logLevel, "-protocol_whitelist", "file", "-threads", "1"}
	args = append(append(args, o.Args...), "-f", "v4l2", "-i", path, "-map", "0:v:0")
	return startDecoder(ctx, append(args, output("", false)...), 0, o.Silence, false)
}
