package lossless

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
)

// traces is one look at what is left of frames that have no scene. What is asked is asked in the order in which a frame moves: at
// first whether it is in FRAMES, then what a group has acked, then the group's results, so that one that moves on meanwhile is seen.
type traces struct {
	l       *carrier
	floors  map[string]uint64          // by group: in FRAMES, the group has acked all its frames up to there
	results map[string]map[uint64]bool // by group, and by seq
}

// stored is a frame as it was stored last.
type stored struct {
	frame    flow.Frame
	sequence uint64 // in FRAMES
	there    bool   // still
}

// withoutTrace lists the frames that wait nowhere. waiting is what the others wait for.
func (l *carrier) withoutTrace(ctx context.Context, ids []flow.FrameID) (lost []flow.FrameID, waiting string, err error) {
	var frames []stored
	for _, id := range ids {
		k := l.window.hold(id.Seq)
		if k == nil { // it has its scene now, or is being published
			continue
		}
		s := stored{frame: *k.frame, sequence: k.stored}
		l.window.free(k)
		if s.sequence == 0 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		s.there, err = l.bus.HasFrame(call, &s.frame, s.sequence)
		cancel()
		if err != nil {
			return nil, "", err
		}
		frames = append(frames, s)
	}
	look := traces{l: l, floors: map[string]uint64{}, results: map[string]map[uint64]bool{}}
	for _, s := range frames {
		reason, err := look.reason(ctx, s)
		if err != nil {
			return nil, waiting, err
		}
		if reason == "" {
			lost = append(lost, s.frame.ID())
		} else {
			waiting = reason
		}
	}
	return lost, waiting, nil
}

// reason is what a frame waits for; empty: it is lost. A group acks a frame after its result is stored, so a frame is lost once one
// group that its scene waits for has acked it and there is no result of it. Each such group is looked at by itself: another that
// the scene does not wait for, and that has no worker, keeps the frame in FRAMES. A plan without a required group is lost
// once all its groups have acked and there is no result of any.
func (t *traces) reason(ctx context.Context, s stored) (string, error) {
	var on, required []string
	groups := t.l.deployed.Groups()
	for _, name := range s.frame.Plan {
		if group, known := groups.Find(name); known && !group.Off {
			on = append(on, name)
			if group.Required() {
				required = append(required, name)
			}
		}
	}
	asked := required
	if len(required) == 0 {
		asked = on
	}
	var unacked []string
	missing := 0
	for _, name := range asked {
		acked, err := t.acked(ctx, name, s)
		if err != nil {
			return "", err
		}
		if !acked {
			unacked = append(unacked, name)
			continue
		}
		there, err := t.hasResult(ctx, name, s.frame.ID())
		if err != nil {
			return "", err
		}
		if !there {
			missing++
		}
	}
	switch {
	case len(required) > 0 && missing > 0, len(required) == 0 && missing > 0 && missing == len(on):
		return "", nil
	case len(unacked) > 0:
		return t.l.absent(unacked, s.frame.Seq), nil
	}
	return fmt.Sprintf("a fuser to store the scene of frame %d", s.frame.Seq), nil
}

// acked says whether a group has surely acked a frame: it is gone from FRAMES, or the group has acked all up to it.
func (t *traces) acked(ctx context.Context, group string, s stored) (bool, error) {
	if !s.there {
		return true, nil
	}
	if _, asked := t.floors[group]; !asked {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		floor, err := t.l.bus.AckFloor(call, group, flow.ModeLossless)
		if err != nil {
			return false, err
		}
		t.floors[group] = floor
	}
	return t.floors[group] >= s.sequence, nil
}

// hasResult says whether a group's result for a frame is stored.
func (t *traces) hasResult(ctx context.Context, group string, id flow.FrameID) (bool, error) {
	if t.results[group] == nil {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		results, err := t.l.bus.StoredResults(call, group, flow.ModeLossless, t.l.partition, id.Source, id.Session)
		if err != nil {
			return false, err
		}
		t.results[group] = results
	}
	return t.results[group][id.Seq], nil
}

// absent names those of the groups without a worker that is alive, or, when there is none, all of them.
func (l *carrier) absent(groups []string, seq uint64) string {
	gone := slices.DeleteFunc(slices.Clone(groups), func(group string) bool { return l.fleet.Slots(group) > 0 })
	if len(gone) > 0 {
		return fmt.Sprintf("a worker of %s to take frame %d", strings.Join(gone, ", "), seq)
	}
	return fmt.Sprintf("%s to answer frame %d", strings.Join(groups, ", "), seq)
}
