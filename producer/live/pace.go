package live

import (
	"cmp"
	"context"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const lagMost = time.Second // that a file's clock is behind before it is set anew

// pace holds a file to its pace and a camera to its rate.
type pace struct {
	stamped bool          // it is that of the pictures' own time stamps
	began   time.Time     // when that of the first one was, or would have been
	at      time.Duration // time stamp of the picture before

	every  time.Duration // between pictures of a file; 0: as they come
	due    time.Time     // the next picture
	least  time.Duration // between pictures of a camera that are taken
	before time.Time     // capture of the last one taken
}

// defaultFPS is the pace of a file that says none: folders, and videos without a rate.
const defaultFPS = 10

// newPace is the pace of a source that says this of itself.
func newPace(s source.Spec, info source.Info) *pace {
	set, own := s.Settings.FPS, info.FPS
	switch {
	case info.Camera && (set == 0 || own > 0 && own <= set): // it does not send more
		return &pace{}
	case info.Camera:
		return &pace{least: time.Duration(float64(time.Second) / set)}
	case set == 0 && info.Stamped:
		return &pace{stamped: true}
	}
	return &pace{every: time.Duration(float64(time.Second) / cmp.Or(set, own, defaultFPS))}
}

// next takes the next picture when it is due, and passes those over whose time is gone. An error is that of the source, or of ctx.
func (c *pace) next(ctx context.Context, src source.Source) (source.Picture, error) {
	for {
		if !c.stamped && !c.wait(ctx, src) {
			return source.Picture{}, ctx.Err()
		}
		p, err := src.Next(ctx)
		if err == nil && c.due.IsZero() { // its time begins with the first picture: a source may need time for that
			c.due = time.Now().Add(c.every)
		}
		if err != nil || !c.stamped {
			return p, err
		}
		switch wait, gone := c.untilStamp(p.At, time.Now()); {
		case gone:
			p.Release()
		case wait > 0 && !clock.Sleep(ctx, wait):
			p.Release()
			return source.Picture{}, ctx.Err()
		default:
			if wait > 0 {
				p.Captured = time.Now().UTC()
			}
			return p, nil
		}
	}
}

// untilStamp is how long a picture with this time stamp is still to wait, or that it is gone: the time from the picture before has passed once
// more since it was due, so that its successor is due too, if they are even.
func (c *pace) untilStamp(at time.Duration, now time.Time) (wait time.Duration, gone bool) {
	first := c.began.IsZero()
	if late := now.Sub(c.began.Add(at)); first || late > lagMost {
		c.began, c.at = now.Add(-at), at // it begins, or it slept, or the machine did
		return 0, false
	}
	gap := at - c.at
	c.at = at
	wait = c.began.Add(at).Sub(now)
	return wait, wait < 0 && -wait > gap
}

// wait waits until the next picture is due, and passes those over whose time is gone already; false is returned when ctx
// ends first.
func (c *pace) wait(ctx context.Context, src source.Source) bool {
	now := time.Now()
	if c.every == 0 || c.due.IsZero() {
		return ctx.Err() == nil
	}
	if late := now.Sub(c.due); late > lagMost {
		c.due = now // it slept, or the machine did
	} else if gone := late / c.every; gone > 0 {
		if err := src.Skip(ctx, uint64(gone)); err != nil {
			return ctx.Err() == nil // the next read says it better
		}
		c.due = c.due.Add(gone * c.every)
	}
	wait := c.due.Sub(now)
	c.due = c.due.Add(c.every)
	return wait <= 0 || clock.Sleep(ctx, wait)
}

// takes says whether a camera's picture is one of those to take.
func (c *pace) takes(captured time.Time) bool {
	if c.least == 0 {
		return true
	}
	if !c.before.IsZero() && captured.Sub(c.before) < c.least*9/10 { // a camera's own clock is not exact
		return false
	}
	c.before = captured
	return true
}
