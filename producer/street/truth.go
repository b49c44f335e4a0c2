package street

// tally is what is found out about one object of a frame.
type tally struct {
	visible        int32 // pixels
	x1, y1, x2, y2 int32
	first          int32 // of its depths
}

// truth fills in the objects from what the raster and the shading left.
func (s *Street) truth(f *Frame) {
	objects := s.world.objects
	if cap(s.tally) < len(objects)+1 {
		s.tally = make([]tally, 2*len(objects)+1)
	}
	tallies := s.tally[:len(objects)+1]
	clear(tallies)
	width, height := int32(s.cfg.Width), int32(s.cfg.Height)
	total := int32(0)
	for y := range height {
		top := s.raster.top[y*width : (y+1)*width]
		for x, index := range top {
			o := s.raster.shown[index].object
			if o == 0 {
				continue
			}
			t := &tallies[o]
			if t.visible == 0 {
				*t = tally{x1: int32(x), y1: y, x2: int32(x)}
			}
			t.x1, t.x2, t.y2 = min(t.x1, int32(x)), max(t.x2, int32(x)), y
			t.visible++
			total++
		}
	}
	s.sortDepths(f, tallies, total)
	for i, o := range objects {
		t := &tallies[i+1]
		if t.visible == 0 {
			continue
		}
		depths := s.depths[t.first-t.visible : t.first]
		f.Objects = append(f.Objects, Object{
			Class: o.class, Label: Label(o.class), Instance: o.instance,
			Box:      [4]float32{float32(t.x1), float32(t.y1), float32(t.x2 + 1), float32(t.y2 + 1)},
			Visible:  float32(t.visible) / float32(max(s.raster.covered[i+1], t.visible)),
			Distance: median(depths),
		})
	}
}

// sortDepths puts the depths of each object together; afterwards first is behind an object's last.
func (s *Street) sortDepths(f *Frame, tallies []tally, total int32) {
	if cap(s.depths) < int(total) {
		s.depths = make([]float32, 2*total)
	}
	s.depths = s.depths[:total]
	sum := int32(0)
	for i := range tallies {
		tallies[i].first = sum
		sum += tallies[i].visible
	}
	for i, index := range s.raster.top {
		if o := s.raster.shown[index].object; o != 0 {
			t := &tallies[o]
			s.depths[t.first] = f.Depth[i]
			t.first++
		}
	}
}

// median reorders values (at least one) and returns the middle one, the higher of two.
func median(values []float32) float32 {
	k := len(values) / 2
	for low, high := 0, len(values)-1; low < high; {
		pivot := values[(low+high)/2]
		i, j := low, high
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for values[j] > pivot {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return values[k]
		}
	}
	return values[k]
}
