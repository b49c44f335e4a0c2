package credit

import (
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	probeEvery     = time.Second     // a silent group gets one frame in this time
	creditTimeout  = 5 * time.Second // least time after which a credit returns by itself
	creditPatience = 5               // times the longest round trip that was seen lately
	creditMost     = time.Minute     // most of it: a live frame is in its stream for 30 s
	remembered     = 16              // answers that "lately" is
	restGain       = 0.3             // how fast a group's rest follows its queue
	leastUse       = 0.9             // of the workers' time, with the longest rest that there may be
	aimLeast       = 0.25            // of the time that a frame takes: what frames may wait while no credit rests,
	aimMore        = 0.5             // and so much more while credits rest as long as they may
	mostQueue      = 1 << 16         // frames that are believed to wait
	mostCredits    = 1 << 12         // of a producer, however many workers say that they are
)

// groupCredits is one group as the selector sees it: a credit for each frame that it may have under way. Every time here
// is a difference of two times of this host, or of two of a worker's.
type groupCredits struct {
	name     string
	follows  bool          // it never leads
	required bool          // a frame is admitted only when this group takes it too, unless it is silent
	every    time.Duration // between two frames of a group whose rate is capped; 0: no cap
	workers  int           // that share its queue, as far as is known; 0: not known
	credits  int           // that it should have
	excess   float64       // of these over as many as keep its share of the workers busy for leastUse: 0.5 is half as many again
	free     []time.Time   // credits that are here: when each has rested
	out      map[flow.FrameID]time.Time
	rest     time.Duration   // of a credit that returns
	trips    []time.Duration // of the last answers, from admission to done
	works    []time.Duration // of the last answers, by their workers
	quickest clock.Least     // of the round trips without the work
	travel   time.Duration   // what it was lately
	silent   bool
	expired  int       // credits since the last answer that returned by themselves
	last     time.Time // of its frames
}

// share shares the credits of so many workers among all live sources, of which mine are here. A share that is no whole
// number is rounded up.
func (g *groupCredits) share(workers, mine, all int, now time.Time) {
	if workers == 0 {
		g.silent = true
	}
	g.workers = workers
	g.credits = min(max(1, ((workers+1)*mine+all-1)/all), mostCredits)
	g.excess = float64(g.credits*all)/(leastUse*float64(max(workers, 1)*mine)) - 1
	g.rest = min(g.rest, g.mostRest())
	for len(g.free)+len(g.out) < g.credits {
		g.free = append(g.free, now)
	}
	for len(g.free)+len(g.out) > g.credits && len(g.free) > 0 {
		g.free = g.free[1:] // the others go as they return
	}
}

// learn follows the group's queue by one more answer, which came so long after its frame was admitted: credits rest
// longer while frames wait for longer than is aimed at, and shorter while they do not. What is aimed at grows with the
// rest, or producers that share a group would keep unequal rests for ever.
func (g *groupCredits) learn(trip time.Duration, done flow.Done, now time.Time) {
	done.Work = min(max(done.Work, 0), trip) // another host says so
	g.trips = lately(g.trips, trip)
	g.works = lately(g.works, done.Work)
	g.travel = g.quickest.Of(trip-done.Work, now)
	work, most := float64(g.work()), g.mostRest()
	aim := work * (aimLeast + aimMore*float64(g.rest)/float64(max(most, 1)))
	g.rest += time.Duration(restGain * (float64(g.queueing(trip, done)) - aim) / float64(g.credits))
	g.rest = min(max(g.rest, 0), most)
}

// queueing is how long frames wait for the group: as many of them as the worker says that there are, or, if that is
// longer, as the round trip took longer than the quickest of late. The count knows a queue that never ends, which the
// quickest has stood in too; the round trip knows the frame that waits while no other does.
func (g *groupCredits) queueing(trip time.Duration, done flow.Done) time.Duration {
	counted := time.Duration(0)
	if done.Queue > 0 { // it is told
		counted = time.Duration(min(done.Queue-1, mostQueue)) * g.work() / time.Duration(max(g.workers, 1))
	}
	return max(counted, trip-done.Work-g.travel)
}

// mostRest bounds the rest: when all producers' credits rest so long, the workers are busy for nine tenths of the time,
// the way there and back included, whatever is measured, and whatever was measured while something stood still.
func (g *groupCredits) mostRest() time.Duration {
	return max(0, time.Duration(g.excess*float64(g.work()))-g.travel)
}

// work is the median of late, which one frame that was held up does not change; 0: not known.
func (g *groupCredits) work() time.Duration {
	if len(g.works) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(g.works))[len(g.works)/2]
}

func (g *groupCredits) giveBack(rested time.Time) {
	if len(g.free)+len(g.out) < g.credits {
		g.free = append(g.free, rested)
	}
}

// expire takes back the credits whose answer is overdue. A group that answered none of its credits is silent.
func (g *groupCredits) expire(now time.Time) {
	for id, since := range g.out {
		if now.Sub(since) >= g.timeout() {
			delete(g.out, id)
			g.giveBack(now)
			g.expired++
		}
	}
	if g.expired >= g.credits {
		g.silent = true
	}
}

func (g *groupCredits) timeout() time.Duration {
	if len(g.trips) == 0 {
		return creditTimeout
	}
	return min(max(creditTimeout, creditPatience*slices.Max(g.trips)), creditMost)
}

// ready says whether the group takes a frame now; if not, at is when it may, zero: when a credit returns.
func (g *groupCredits) ready(now time.Time) (ok bool, at time.Time) {
	for id := range g.out { // a credit that is out returns by then at the latest
		at = earlier(at, g.out[id].Add(g.timeout()))
	}
	if len(g.free) == 0 {
		return false, at
	}
	at = slices.MinFunc(g.free, time.Time.Compare)
	if g.silent {
		at = latest(at, g.last.Add(probeEvery))
	}
	if g.every > 0 {
		at = latest(at, g.last.Add(g.every))
	}
	return !at.After(now), at
}

// lately adds one more of the last answers' times.
func lately(times []time.Duration, one time.Duration) []time.Duration {
	if times = append(times, one); len(times) > remembered {
		times = times[1:]
	}
	return times
}
