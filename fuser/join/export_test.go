package join

// Open is how many frames wait.
func (l *Live[H]) Open() int { return len(l.open) }

// Open is how many frames wait, or are given out and not stored yet.
func (l *Lossless[H]) Open() int { return len(l.frames) }
