// Package pace says how large pictures may be for a viewer whose link is slow, by how long writing to it takes.
package pace

import "time"

// widths are the largest widths of pictures, in pixels, from a quick link's to a slow one's; 0: as they are. Each is a quarter of
// the bytes of the one before, or thereabouts.
var widths = [...]int{0, 1280, 640, 320, 160}

const (
	window   = time.Second      // is looked at at once
	tooBusy  = 0.8              // share of it in which something was written: the link bears no more
	calm     = 0.15             // share below which four times as much would go
	veryLong = 2 * time.Second  // a single write: two steps at once
	firstTry = 10 * time.Second // calm for so long: larger pictures are tried
	lastTry  = 5 * time.Minute  // each time that it was wrong the wait is twice as long, up to this
)

// Pace is of one viewer and one goroutine. The zero value is ready.
type Pace struct {
	level int
	began time.Time     // of the window
	busy  time.Duration // in the window
	since time.Time     // it is calm
	try   time.Duration // calm for so long before larger pictures
	tried time.Time     // when that was last
}

// Width is the largest width of a picture now, in pixels; 0: as it is.
func (p *Pace) Width() int { return widths[p.level] }

// Wrote notes a write that ended at now.
func (p *Pace) Wrote(now time.Time, took time.Duration) {
	if p.began.IsZero() {
		p.began, p.since, p.try = now.Add(-took), now, firstTry
	}
	p.busy += took
	passed := now.Sub(p.began)
	if passed < window {
		return
	}
	share := p.busy.Seconds() / passed.Seconds()
	p.began, p.busy = now, 0
	if share > calm {
		p.since = now
	}
	switch {
	case share >= tooBusy && p.level < len(widths)-1:
		if p.level++; took >= veryLong {
			p.level = min(p.level+1, len(widths)-1)
		}
		if !p.tried.IsZero() && now.Sub(p.tried) < firstTry {
			p.try = min(2*p.try, lastTry)
		}
	case p.level > 0 && now.Sub(p.since) >= p.try:
		p.level--
		p.since, p.tried = now, now
	}
}
