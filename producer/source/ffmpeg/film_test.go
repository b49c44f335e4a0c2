package ffmpeg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// played is what came of a film.
type played struct {
	info     ffmpeg.Info
	pictures [][]byte
	times    []time.Duration
	layout   ffmpeg.Layout
	corrupt  uint64
	err      error // of its end; nil: all of it was there
}

// play plays a whole film.
func play(ctx context.Context, path string) (p played) {
	if p.info, p.err = ffmpeg.Probe(ctx, path); p.err != nil {
		return p
	}
	film, err := ffmpeg.OpenFilm(ctx, path, p.info, ffmpeg.FilmOptions{Threads: 1, Silence: time.Minute})
	if err != nil {
		p.err = err
		return p
	}
	defer film.Close()
	for {
		var pixels []byte
		at, err := film.Next(ctx, func(l ffmpeg.Layout) []byte {
			p.layout = l
			pixels = make([]byte, l.Bytes())
			return pixels
		})
		p.corrupt = film.Corrupt()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			p.err = err
			return p
		}
		p.pictures, p.times = append(p.pictures, pixels), append(p.times, at)
	}
}

func TestCases(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "cases", "films")
	for name, want := range map[string]struct {
		pictures      int
		width, height int
		corrupt       uint64
		end           error
		says          string
	}{
		"anim.gif":           {pictures: 20, width: 320, height: 180},
		"audio-only.mp4":     {end: ffmpeg.ErrNoVideo, says: "only sound"},
		"bad-packet.mp4":     {pictures: 52, width: 320, height: 180, corrupt: 1},
		"browser.webm":       {pictures: 120, width: 320, height: 180},
		"clip.mp4":           {pictures: 20, width: 320, height: 240},
		"cover-first.mp4":    {pictures: 20, width: 320, height: 240},
		"covered.mkv":        {pictures: 20, width: 320, height: 240},
		"cut-to-nothing.mp4": {pictures: 1, width: 320, height: 180, corrupt: 1, end: ffmpeg.ErrEarly, says: "at 0s of 2s"},
		"grows.ts":           {pictures: 40, width: 320, height: 180},
		"hevc10.mp4":         {pictures: 20, width: 320, height: 180},
		"interlaced.mpg":     {pictures: 12, width: 720, height: 576},
		"nomoov.mp4":         {end: ffmpeg.ErrNoVideo, says: "was the recording finished?"},
		"odd-size.mp4":       {pictures: 20, width: 321, height: 181},
		"plain.mp4":          {pictures: 10, width: 320, height: 240},
		"rot90.mp4":          {pictures: 10, width: 240, height: 320},
		"vfr.mkv":            {pictures: 36, width: 320, height: 180},
		"whole.mp4":          {pictures: 60, width: 320, height: 180},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := play(t.Context(), filepath.Join(folder, name))
			if len(p.pictures) != want.pictures || p.layout.Width != want.width || p.layout.Height != want.height || p.corrupt != want.corrupt {
				t.Errorf("%d pictures of %+v, %d corrupt; want %+v", len(p.pictures), p.layout, p.corrupt, want)
			}
			if !errors.Is(p.err, want.end) || want.says != "" && !strings.Contains(fmt.Sprint(p.err), want.says) {
				t.Errorf("its end: %v, want %v, saying %q", p.err, want.end, want.says)
			}
			for i := 1; i < len(p.times); i++ {
				if p.times[i] <= p.times[i-1] {
					t.Errorf("picture %d is of %v, after %v", i, p.times[i], p.times[i-1])
				}
			}
		})
	}
}
