package clock

import "time"

// Stamp is t as messages carry it: UTC, nanoseconds since 1970, by this host's clock.
func Stamp(t time.Time) int64 { return t.UnixNano() + int64(offset(t)) }
