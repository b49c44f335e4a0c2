package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
	"github.com/spatial-flow/spatial-flow/producer/source/folder"
	"github.com/spatial-flow/spatial-flow/producer/source/httpcamera"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp"
)

// lookFor is how long the pictures of a camera are counted.
const lookFor = 3 * time.Second

// Fact is one thing that there is to say of a source.
type Fact struct{ Name, Value string }

// look is a look at a source.
type look struct {
	spec  Spec
	facts []Fact
}

func (l *look) say(name, format string, values ...any) {
	l.facts = append(l.facts, Fact{name, fmt.Sprintf(format, values...)})
}

// Probe looks at what a source names, and says what is there and what would be done with it. With an error, that of [Open], it says
// what was found before.
func Probe(ctx context.Context, s Spec) ([]Fact, error) {
	l := &look{spec: s}
	l.say("source", "%s", s.URI)
	l.say("name", "%s", s.Name)
	err := l.look(ctx)
	return l.facts, err
}

func (l *look) look(ctx context.Context) error {
	s := l.spec
	switch {
	case s.street != nil:
		l.say("kind", "generated street, without end")
	case s.device != nil:
		l.say("kind", "device")
		return l.open(ctx)
	case s.camera != nil && strings.HasPrefix(s.camera.Scheme, "rtsp"):
		return l.rtsp(ctx)
	case s.camera != nil:
		return l.http(ctx)
	default:
		return l.path(ctx)
	}
	return l.open(ctx)
}

func (l *look) failed(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrOpen, l.spec.URI, err)
}

func (l *look) rtsp(ctx context.Context) error {
	l.say("kind", "camera over RTSP")
	begin := time.Now()
	client, err := rtsp.Open(ctx, l.spec.rtsp())
	if err != nil {
		return l.failed(err)
	}
	info := client.Info()
	l.say("transport", "%s", info.Transport)
	l.say("authentication", "%s", info.Authentication)
	l.say("codec", "%s", info.Codec)
	if info.Width > 0 {
		l.say("it says", "%dx%d, %s", info.Width, info.Height, rate(info.FPS))
	}
	src, _, err := openPlaying(ctx, client, l.spec, Options{})
	if err != nil {
		return l.failed(err)
	}
	if l.spec.Settings.Decode != "" && info.Codec != coded.JPEG {
		l.say("decode", "%s", l.spec.Settings.Decode)
	}
	return l.count(ctx, src, begin)
}

func (l *look) http(ctx context.Context) error {
	begin := time.Now()
	camera, err := httpcamera.Open(ctx, l.spec.http())
	if err != nil {
		l.say("kind", "something over HTTP")
		return l.failed(err)
	}
	kind := camera.Kind()
	switch kind {
	case httpcamera.Stream:
		l.say("kind", "camera over HTTP, MJPEG: JPEGs are not coded again")
	case httpcamera.Snapshot:
		l.say("kind", "camera over HTTP, snapshots: asked every %v (#fps=)", l.spec.http().Every)
	case httpcamera.Film:
		l.say("kind", "film over HTTP: fetched as a whole, then read as a film, once")
	}
	l.say("authentication", "%s", camera.Authentication())
	src, info, err := openAnswering(ctx, camera, l.spec, Options{})
	if err != nil {
		return l.failed(err)
	}
	if kind == httpcamera.Film {
		l.say("it says", "%s%s", rate(info.FPS), claimed(info.Frames))
	}
	return l.count(ctx, src, begin)
}

// path looks at a file or a folder.
func (l *look) path(ctx context.Context) error {
	info, err := os.Stat(l.spec.path)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrOpen, err)
	case info.IsDir():
		if err := l.folder(); err != nil {
			return err
		}
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s is neither a file nor a folder", ErrOpen, l.spec.path)
	case folder.IsPicture(l.spec.path):
		l.say("kind", "picture of %d bytes", info.Size())
	default:
		l.say("kind", "film of %d bytes", info.Size())
		film, err := ffmpeg.Probe(ctx, l.spec.path)
		if err != nil {
			return l.failed(err)
		}
		l.film(film)
	}
	return l.open(ctx)
}

func (l *look) film(f ffmpeg.Info) {
	l.say("container", "%s, its video is stream %d", f.Container, f.Stream)
	l.say("codec", "%s, %s", f.Codec, f.PixelFormat)
	l.say("size", "%dx%d, turned as it says, its pixels taken as square", f.Width, f.Height)
	if f.Rotation != 0 {
		l.say("rotation", "stored turned: it is turned by %d° anticlockwise", f.Rotation)
	}
	if f.FieldOrder != "" && f.FieldOrder != "progressive" && f.FieldOrder != "unknown" {
		l.say("fields", "interlaced (%s): it is deinterlaced", f.FieldOrder)
	}
	l.say("it says", "%s, %v%s", rate(f.FPS), f.Duration.Round(time.Millisecond), claimed(f.Frames))
}

// folder counts what a folder holds by kind.
func (l *look) folder() error {
	paths, others, err := folder.List(l.spec.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOpen, err)
	}
	l.say("kind", "folder, in order of the names, numbers by value")
	kinds := map[string]int{}
	for _, path := range paths {
		kinds[cmp.Or(strings.ToLower(filepath.Ext(path)), "without an extension")]++
	}
	l.say("pictures", "%s", counts(kinds))
	if said := others.String(); said != "" {
		l.say("beside them", "%s", said)
	}
	return nil
}

// claimed is how many frames there are said to be; nothing, when it is not said.
func claimed(frames uint64) string {
	if frames == 0 {
		return ""
	}
	return fmt.Sprintf(", %d frames", frames)
}

func counts(kinds map[string]int) string {
	var parts []string
	for kind, n := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// open opens the source as a pipeline would, and takes its first picture.
func (l *look) open(ctx context.Context) error {
	begin := time.Now()
	src, _, err := Open(ctx, l.spec, Options{Unpaced: true})
	if err != nil {
		return err
	}
	return l.count(ctx, src, begin)
}

// count takes the first picture and, of what has a pace of its own, as many as come for a while.
func (l *look) count(ctx context.Context, src Source, begin time.Time) (err error) {
	defer func() { err = errors.Join(err, src.Close()) }()
	p, err := src.Next(ctx)
	if errors.Is(err, io.EOF) {
		return l.failed(ErrNoPictures)
	}
	if err != nil {
		return l.failed(err)
	}
	width, height := p.Width, p.Height
	if p.Finish(); p.Broken != "" {
		l.say("first picture", "%s", p.Broken)
		return l.failed(errors.New(p.Broken))
	}
	l.say("first picture", "%dx%d after %v, sent as %dx%d in %d bytes", width, height, time.Since(begin).Round(time.Millisecond), p.Width, p.Height, len(p.Data))
	if l.spec.IsCamera() {
		n, first := 0, time.Now()
		look, cancel := context.WithTimeout(ctx, lookFor)
		defer cancel()
		for err == nil {
			if p, err = src.Next(look); err == nil {
				p.Release()
				n++
			}
		}
		if look.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, ErrResized) {
			return l.failed(err)
		}
		if took := time.Since(first); look.Err() != nil {
			l.say("measured", "%.1f pictures/s over %v", float64(n)/took.Seconds(), took.Round(time.Second))
		}
	}
	if l.spec.Mode() == flow.ModeLive {
		l.say("mode", "live: the newest picture goes through, others are skipped, and counted")
	} else {
		l.say("mode", "lossless: every picture goes through, once")
	}
	return nil
}

func rate(fps float64) string {
	if fps == 0 {
		return "no rate"
	}
	return fmt.Sprintf("%.4g pictures/s", fps)
}
