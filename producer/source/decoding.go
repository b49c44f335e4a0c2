package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
	"github.com/spatial-flow/spatial-flow/producer/source/rtsp"
)

const (
	pictureWithin = time.Minute // of units, a decoder gives one: between key frames there may be that much
	ahead         = time.Second // that all time stamps are shifted, so that none is negative
	mostUnits     = 512         // in a decoder
)

// What there is to say while there is not time to decode every picture.
const (
	noteKeys = "key frames only: there is not time to decode every picture (decode=auto)"
	noteLost = "pictures are lost: there is not time to decode as many (decode=keys takes less of it)"
	lostFor  = 10 * time.Second // that is said after the last one
)

// errNoParameters is returned when a camera does not say what its decoder has to know.
var errNoParameters = fmt.Errorf("%w: the camera sends a key frame without parameter sets (SPS), so its pictures can't be decoded", reason.ErrAnswer)

// decoding is a camera whose pictures are decoded by an ffmpeg, which gets units and nothing else. Each size has one of its own.
type decoding struct {
	endless
	client  *rtsp.Client
	gate    coded.Gate
	set     Settings
	args    []string // for ffmpeg
	mats    mats
	bgr     mats // of planar pictures that are encoded
	stop    context.CancelFunc
	feeding sync.WaitGroup

	streams chan *stream // for each size, in order; closed when the camera is lost
	err     error        // why; set before streams is closed
	now     *stream      // nil: none yet, or the one before has ended
	begun   bool
	corrupt uint64    // of the streams before
	latest  time.Time // capture of the last picture
}

// stream is a decoder of units of one size.
type stream struct {
	*ffmpeg.Stream
	mu      sync.Mutex
	arrived map[time.Duration]time.Time // of the units that it has, by their time stamps
	note    string                      // what there is to say
}

var formats = map[coded.Codec]ffmpeg.Format{coded.H264: ffmpeg.H264, coded.H265: ffmpeg.H265}

func newDecoding(ctx context.Context, client *rtsp.Client, set Settings, o Options) *decoding {
	ctx, stop := context.WithCancel(ctx)
	decode, load := set.Decode, o.Load
	if load == nil {
		load = new(coded.Load)
	}
	if decode == "" {
		decode = coded.DecodeAuto
	}
	d := &decoding{client: client, gate: coded.Gate{Decode: decode, Load: load}, set: set, args: o.Film.DecodeArgs, stop: stop, streams: make(chan *stream, 1)}
	d.feeding.Go(func() {
		d.err = d.feed(ctx)
		close(d.streams)
	})
	return d
}

// feed gives the decoder what the camera sends, until that is lost.
func (d *decoding) feed(ctx context.Context) error {
	var s *stream
	defer func() {
		if s != nil {
			_ = s.CloseWrite() // it is gone
		}
	}()
	width, height := 0, 0
	lost, lostAt := uint64(0), time.Time{}
	for {
		u, err := d.client.Next(ctx)
		if err != nil {
			return err
		}
		if now := time.Now(); !d.gate.Takes(u, now) {
			continue
		}
		if s == nil || u.Key && (u.Width != width || u.Height != height) {
			if s != nil {
				_ = s.CloseWrite()
			}
			width, height = u.Width, u.Height
			if width == 0 && height == 0 {
				return errNoParameters
			}
			if width < 1 || height < 1 || width > maxPixels/height {
				return fmt.Errorf("%w: pictures of %dx%d, want 1 to %d pixels", ErrOpen, width, height, maxPixels)
			}
			if s, err = d.begin(ctx); err != nil {
				return err
			}
		}
		note, now := "", time.Now()
		if n := d.client.Overflown(); n > lost {
			lost, lostAt = n, now
		}
		switch {
		case d.gate.Decode == coded.DecodeAuto && d.gate.KeysOnly(now):
			note = noteKeys
		case now.Sub(lostAt) < lostFor:
			note = noteLost
		}
		s.expect(u.PTS+ahead, u.Arrived, note)
		if err := s.WriteUnit(u.PTS+ahead, u.Key, u.Data); err != nil {
			return err // the decoder is gone, and says why
		}
	}
}

// begin begins a decoder.
func (d *decoding) begin(ctx context.Context) (*stream, error) {
	f, err := ffmpeg.OpenStream(ctx, ffmpeg.StreamOptions{Format: formats[d.client.Info().Codec], Silence: pictureWithin, Args: d.args})
	if err != nil {
		return nil, err
	}
	s := &stream{Stream: f, arrived: map[time.Duration]time.Time{}}
	select {
	case d.streams <- s:
		return s, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), f.Close())
	}
}

// expect notes a unit before it is decoded.
func (s *stream) expect(at time.Duration, arrived time.Time, note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.arrived) >= mostUnits { // of pictures that never came
		clear(s.arrived)
	}
	s.arrived[at.Truncate(time.Microsecond)], s.note = arrived, note
}

// of is when a picture's unit arrived, and what there is to say.
func (s *stream) of(at time.Duration) (arrived time.Time, note string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived, ok := s.arrived[at]
	if !ok {
		arrived = time.Now()
	}
	delete(s.arrived, at)
	return arrived, s.note
}

// Next is the next picture. [ErrResized] is returned once before those of another size.
func (d *decoding) Next(ctx context.Context) (Picture, error) {
	for {
		if d.now == nil {
			select {
			case s, ok := <-d.streams:
				if !ok {
					return Picture{}, d.err
				}
				d.now = s
			case <-ctx.Done():
				return Picture{}, context.Cause(ctx)
			}
			if d.begun {
				return Picture{}, ErrResized
			}
			d.begun = true
		}
		p, err := d.picture(ctx)
		if !errors.Is(err, io.EOF) {
			return p, err
		}
		d.corrupt += d.now.Corrupt()
		err = d.now.Close()
		if d.now = nil; err != nil {
			return Picture{}, err
		}
	}
}

func (d *decoding) picture(ctx context.Context) (Picture, error) {
	var mat gocv.Mat
	var layout ffmpeg.Layout
	given := false
	at, err := d.now.Next(ctx, func(l ffmpeg.Layout) []byte {
		if layout, given = l, true; l.Planar {
			mat = d.mats.getSized(l.Height*3/2, l.Width, gocv.MatTypeCV8UC1)
		} else {
			mat = d.mats.getSized(l.Height, l.Width, gocv.MatTypeCV8UC3)
		}
		pixels, _ := mat.DataPtrUint8() // it is continuous: it was made as a whole
		return pixels
	})
	if err != nil {
		if given {
			d.mats.put(mat)
		}
		return Picture{}, err
	}
	arrived, note := d.now.of(at)
	p := Picture{Read: time.Since(arrived), Note: note, Pixels: decoded{mat, &d.mats, d.set, nil}}
	if layout.Planar {
		p.Pixels = decoded{mat, &d.mats, d.set, &d.bgr}
	}
	p.Width, p.Height = d.set.fit(layout.Width, layout.Height)
	if !arrived.After(d.latest) { // B-frames arrive after the picture that is shown after them
		arrived = d.latest.Add(time.Microsecond)
	}
	p.Captured, d.latest = arrived.UTC(), arrived
	return p, nil
}

// Corrupt counts what the decoders could not make whole.
func (d *decoding) Corrupt() uint64 {
	if d.now == nil {
		return d.corrupt
	}
	return d.corrupt + d.now.Corrupt()
}

func (d *decoding) Close() error {
	d.stop()
	if d.now != nil {
		_ = d.now.Close() // always nil
	}
	for s := range d.streams { // one that was on its way
		_ = s.Close()
	}
	d.feeding.Wait()
	d.client.Close()
	return errors.Join(d.mats.close(), d.bgr.close())
}
