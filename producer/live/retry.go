package live

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source"
)

// How long it takes until a camera is opened again.
const (
	reopenLeast = 250 * time.Millisecond
	reopenMost  = 2 * time.Second
	steady      = 10 * time.Second // of pictures, after which a camera is well: one may close after each picture
)

// refusedWaits are the pauses after a password was refused: cameras lock the accounts of those who ask on.
var refusedWaits = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

// retry is when a camera that was lost is opened again. It begins anew once there are pictures for [steady].
type retry struct {
	wait    time.Duration // before jitter; 0: none yet
	refused int           // times in a row
	told    string        // the reason last told
	since   time.Time     // of the pictures since it was opened; zero: none yet
}

// picture notes that there is a picture now. Once the camera is well again it returns the reason that was last told.
func (r *retry) picture(now time.Time) (was string) {
	if r.since.IsZero() {
		r.since = now
	}
	if now.Sub(r.since) < steady {
		return ""
	}
	was = r.told
	*r = retry{since: r.since}
	return was
}

// after is how long to wait after a failure, and whether its reason is another than before.
func (r *retry) after(err error) (wait time.Duration, news bool) {
	news, r.told, r.since = err.Error() != r.told, err.Error(), time.Time{}
	if errors.Is(err, source.ErrRefused) {
		wait = refusedWaits[min(r.refused, len(refusedWaits)-1)]
		r.refused++
		return wait, news
	}
	r.refused = 0
	r.wait = min(max(reopenLeast, 2*r.wait), reopenMost)
	return r.wait/2 + rand.N(r.wait/2), news
}

// says is what is shown until then.
func (r *retry) says(wait time.Duration) string {
	if r.refused > 0 {
		return fmt.Sprintf("%s; asked again in %d min, or when the settings change", r.told, int(wait.Minutes()))
	}
	return r.told
}
