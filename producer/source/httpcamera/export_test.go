package httpcamera

import "time"

// SetSilence sets how long the answer that is being read may be silent, from its next read on.
func (c *Camera) SetSilence(d time.Duration) { c.body.silence = d }

// Age makes the last picture so much older.
func (c *Camera) Age(d time.Duration) { c.heard = c.heard.Add(-d) }
