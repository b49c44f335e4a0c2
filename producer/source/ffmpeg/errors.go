package ffmpeg

import "errors"

var (
	// ErrNoProgram is returned when ffmpeg or ffprobe is not installed.
	ErrNoProgram = errors.New("FFmpeg is not installed (Debian, Ubuntu: apt-get install ffmpeg; macOS: brew install ffmpeg)")
	// ErrNoVideo is returned when a file holds no film: no video that a decoder is there for, or nothing that FFmpeg knows.
	ErrNoVideo = errors.New("no film")
	// ErrEmpty is returned when no picture of a film can be decoded.
	ErrEmpty = errors.New("no picture of it can be decoded")
	// ErrEarly is returned when a film ends before the time that it claims to last.
	ErrEarly = errors.New("it ends early")
	// ErrDecode is returned when ffmpeg ends with an error, or says what it should not.
	ErrDecode = errors.New("ffmpeg failed")
	// ErrSilent is returned when ffmpeg gave nothing for as long as it may be silent while something was wanted of it.
	ErrSilent = errors.New("ffmpeg gives nothing")
	// ErrEncode is returned when a film can't be written.
	ErrEncode = errors.New("the film can't be written")
	// ErrArgs is returned when extra words for ffmpeg are none that it may be given.
	ErrArgs = errors.New("words for ffmpeg")
)
