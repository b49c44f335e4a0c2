package live

import (
	"context"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const lagMost = time.Second // that a file's clock is behind before it is set anew

// pace holds a file to its pace and a camera to its rate.
type pace struct {
	every  time.Duration // between pictures of a file; 0: as they come
	due    time.Time     // the next picture
	least  time.Duration // between pictures of a camera that are taken
	before time.Time     // capture of the last one taken
}

// defaultFPS is the pace of a file that says none: folders, and videos without a rate.
const defaultFPS = 10

func newPace(s source.Spec, src source.Source) *pace {
	fps := s.Settings.FPS
	if s.IsCamera() {
		if fps == 0 {
			return &pace{}
		}
		return &pace{least: time.Duration(float64(time.Second) / fps)}
	}
	if fps == 0 {
		fps = source.FPS(src)
	}
	if fps == 0 {
		fps = defaultFPS
	}
	return &pace{every: time.Duration(float64(time.Second) / fps)}
}

// wait waits until the next picture is due, and passes those over whose time is gone already; false is returned when ctx
// ends first.
func (c *pace) wait(ctx context.Context, src source.Source) bool {
	now := time.Now()
	if c.every == 0 {
		return ctx.Err() == nil
	}
	if c.due.IsZero() {
		c.due = now
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
