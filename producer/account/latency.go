package account

import (
	"math"
	"time"
)

// Latencies are counted in buckets that grow by 2 %, so that a bucket's middle is at most 1 % off.
const (
	latencyLeast   = 10 * time.Microsecond
	latencyGrowth  = 1.02
	latencyBuckets = 1024 // up to 1.8 h; what is longer counts there
)

// latency estimates quantiles in 8 KiB, however many frames there are. Its zero value is empty.
type latency struct {
	counts [latencyBuckets]uint64
	total  uint64
}

func (l *latency) add(d time.Duration) {
	bucket := 0
	if d > latencyLeast {
		bucket = int(math.Log(float64(d)/float64(latencyLeast)) / math.Log(latencyGrowth))
	}
	l.counts[min(bucket, latencyBuckets-1)]++
	l.total++
}

// quantile answers 0 when nothing was added. q is 0 to 1.
func (l *latency) quantile(q float64) time.Duration {
	if l.total == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(l.total))))
	seen := uint64(0)
	for bucket, n := range l.counts {
		if seen += n; seen >= rank {
			return time.Duration(float64(latencyLeast) * math.Pow(latencyGrowth, float64(bucket)+.5))
		}
	}
	return 0 // not reached: the counts add up to total
}
