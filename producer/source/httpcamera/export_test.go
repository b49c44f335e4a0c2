package httpcamera

import "time"

// SetSilence sets how long the answer that is being read may be silent, from its next read on.
func (c *Camera) SetSilence(d time.Duration) { c.body.silence = d }
