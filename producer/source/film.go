package source

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// Film is how films are read.
type Film struct {
	Strict     bool     // one with broken packets fails, with [ErrCorrupt], once all of it is read
	DecodeArgs []string // further words for ffmpeg: see [ffmpeg.DecodeArgs]
}

// filmSilence is how long ffmpeg may give no picture while one is waited for: a network file system may take its time.
const filmSilence = time.Minute

// filmThreads bounds the threads that decode a film: the models are slower than that.
const filmThreads = 4

// film reads a video file through ffmpeg, one picture ahead: while one is encoded the next is decoded.
type film struct {
	decoder  *ffmpeg.Film
	cancel   context.CancelFunc // of reading ahead
	ctx      context.Context
	ahead    chan shot // of the read that is under way; nil: there is none
	name     string
	strict   bool
	mats     mats // as they are decoded
	bgr      mats // made of planar ones
	settings Settings
}

// shot is a picture as it is decoded, or why there is none.
type shot struct {
	at            time.Duration
	mat           gocv.Mat
	width, height int
	planar        bool
	err           error
}

func openFilm(path, name string, s Settings, how Film) (Source, Info, error) {
	ctx, cancel := context.WithCancel(context.Background()) // it ends with Close
	f, info, err := newFilm(ctx, path, name, s, how)
	if err != nil {
		cancel()
		return nil, Info{}, err
	}
	f.ctx, f.cancel = ctx, cancel
	return f, info, nil
}

func newFilm(ctx context.Context, path, name string, s Settings, how Film) (*film, Info, error) {
	probed, err := ffmpeg.Probe(ctx, path)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, name, err)
	}
	w, h := probed.Width, probed.Height
	if w < 1 || h < 1 || w > maxPixels/h || max(w, h) > flow.MaxDimension {
		return nil, Info{}, fmt.Errorf("%w: %s has pictures of %dx%d, want 1 to %d pixels and sides of at most %d", ErrOpen, name, w, h, maxPixels, flow.MaxDimension)
	}
	opened, err := ffmpeg.OpenFilm(ctx, path, probed, ffmpeg.FilmOptions{Threads: min(runtime.GOMAXPROCS(0), filmThreads), Silence: filmSilence, Args: how.DecodeArgs})
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, name, err)
	}
	return &film{decoder: opened, name: name, strict: how.Strict, settings: s}, Info{Frames: probed.Frames, FPS: probed.FPS, Stamped: true, Film: &FilmFile{path}}, nil
}

// fileName is the name of a file as it can be shown in a line: the path to it may be long.
func fileName(path string) string {
	name := filepath.Base(path)
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Next takes a picture, whose capture is the moment when it is asked for: what a film says of when it was recorded is often wrong.
func (f *film) Next(ctx context.Context) (Picture, error) {
	p := Picture{Captured: time.Now().UTC()}
	taken, err := f.take(ctx)
	if err != nil {
		return Picture{}, err
	}
	p.Read, p.At = time.Since(p.Captured), taken.at
	p.Width, p.Height = f.settings.fit(taken.width, taken.height)
	p.Pixels = decoded{taken.mat, &f.mats, f.settings, nil}
	if taken.planar {
		p.Pixels = decoded{taken.mat, &f.mats, f.settings, &f.bgr}
	}
	return p, nil
}

// take waits for the read that is under way, and begins the next.
func (f *film) take(ctx context.Context) (shot, error) {
	if err := ctx.Err(); err != nil {
		return shot{}, err
	}
	if f.ahead == nil {
		f.readAhead()
	}
	taken, err := f.awaited(ctx)
	if err == nil {
		f.readAhead()
	}
	return taken, err
}

// awaited is the picture of the read that is under way.
func (f *film) awaited(ctx context.Context) (shot, error) {
	select {
	case <-ctx.Done():
		return shot{}, ctx.Err()
	case taken := <-f.ahead:
		f.ahead = nil
		if taken.err != nil {
			return shot{}, f.why(ctx, taken.err)
		}
		return taken, nil
	}
}

func (f *film) readAhead() {
	ahead := make(chan shot, 1)
	f.ahead = ahead
	go func() { ahead <- f.read() }()
}

func (f *film) read() (s shot) {
	begun := false
	s.at, s.err = f.decoder.Next(f.ctx, func(l ffmpeg.Layout) []byte {
		begun = true
		s.width, s.height, s.planar = l.Width, l.Height, l.Planar
		if l.Planar {
			s.mat = f.mats.getSized(l.Height*3/2, l.Width, gocv.MatTypeCV8UC1)
		} else {
			s.mat = f.mats.getSized(l.Height, l.Width, gocv.MatTypeCV8UC3)
		}
		pixels, _ := s.mat.DataPtrUint8() // it is continuous: it was made as a whole
		return pixels
	})
	if s.err != nil && begun {
		f.mats.put(s.mat)
	}
	return s
}

// why is an error of reading, with the name of the film.
func (f *film) why(ctx context.Context, err error) error {
	switch corrupt := f.Corrupt(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w %s: %w", ErrFilm, f.name, err)
	case f.strict && corrupt > 0:
		return fmt.Errorf("%w %s: %d %w", ErrFilm, f.name, corrupt, ErrCorrupt)
	}
	return io.EOF
}

// Skip decodes what it passes over: a film has no other way to its nth picture that is exact. What it passes over by the thousand goes
// through the pipe, and no further.
func (f *film) Skip(ctx context.Context, n uint64) error {
	for ; n > 0; n-- {
		var err error
		if f.ahead == nil {
			if _, err = f.decoder.Next(ctx, func(ffmpeg.Layout) []byte { return nil }); err != nil {
				err = f.why(ctx, err)
			}
		} else if s, e := f.awaited(ctx); e == nil {
			f.mats.put(s.mat)
		} else {
			err = e
		}
		if errors.Is(err, io.EOF) {
			return nil // the next read says it
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Corrupt counts what ffmpeg said was broken.
func (f *film) Corrupt() uint64 { return f.decoder.Corrupt() }

func (f *film) Close() error {
	f.cancel()
	err := f.decoder.Close()
	if f.ahead != nil { // what it waited for is gone
		if left := <-f.ahead; left.err == nil {
			f.mats.put(left.mat)
		}
	}
	return errors.Join(err, f.mats.close(), f.bgr.close())
}

// marked are the bytes at the beginning and before the end of a film by which it is known.
const marked = 64 << 10

// FilmFile is the file of a film, to be told from another of its name.
type FilmFile struct{ path string }

// filmMark is what is noted of a film.
type filmMark struct {
	Size int64  `json:"size"` // bytes
	Sum  string `json:"sum"`  // of its first and its last bytes
}

// Mark is what to know the film by, to be noted with a run of it.
func (f *FilmFile) Mark() (string, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return "", err
	}
	m := filmMark{Size: info.Size()}
	if m.Sum, err = f.sum(m.Size); err != nil {
		return "", err
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// Is says whether the file is the film that a mark was made of, or has grown since.
func (f *FilmFile) Is(mark string) (bool, error) {
	var m filmMark
	if err := json.Unmarshal([]byte(mark), &m); err != nil {
		return false, fmt.Errorf("mark of a film: %w", err)
	}
	sum, err := f.sum(m.Size)
	if errors.Is(err, io.ErrUnexpectedEOF) { // it is shorter now
		return false, nil
	}
	return sum == m.Sum, err
}

// sum is that of the first and the last bytes of the file when it was so large. [io.ErrUnexpectedEOF] is returned when it is smaller.
func (f *FilmFile) sum(size int64) (string, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	for _, from := range []int64{0, max(0, size-marked)} {
		want := min(size, marked)
		n, err := io.Copy(hash, io.NewSectionReader(file, from, want))
		if err == nil && n < want {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
	}
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)), nil
}
