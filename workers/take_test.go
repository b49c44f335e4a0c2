package workers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

func waiting(mode flow.Mode) *task {
	return newTask(&heldMsg{}, nil, &flow.Frame{Mode: mode}, time.Now())
}

// Live frames come first, but at least every tenth frame is a lossless one while any waits.
func TestTurns(t *testing.T) {
	t.Parallel()
	l := newLanes(100)
	for range 100 {
		l.put(waiting(flow.ModeLive))
		l.put(waiting(flow.ModeLossless))
	}
	l.close()
	if l.put(waiting(flow.ModeLive)) {
		t.Error("a lane that is closed takes one more")
	}
	var order string
	for turns := l.turns(); ; {
		task, ok := turns.next()
		if !ok {
			break
		}
		order += map[bool]string{true: "l", false: "F"}[task.live()]
	}
	if want := "lllllllllFlllllllllFlllllllllFlllllllllF"; len(order) != 200 || order[:40] != want || order[190:] != "FFFFFFFFFF" {
		t.Errorf("order %s, want %s… and all of them", order, want)
	}
}

// heldMsg counts how often the server was told that it is worked on.
type heldMsg struct {
	jetstream.Msg
	told  int
	takes time.Duration
	err   error
}

func (m *heldMsg) Data() []byte { return nil }

func (m *heldMsg) InProgress() error {
	m.told++
	time.Sleep(m.takes)
	return m.err
}

// However long a frame is in hand, the server hears of it every second, and nothing once it is answered.
func TestHold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		msg  heldMsg
		hold time.Duration
		told int
	}{
		"a short frame": {heldMsg{}, 900 * time.Millisecond, 0},
		"a long frame":  {heldMsg{}, 4500 * time.Millisecond, 4},
		"NATS is away":  {heldMsg{err: errors.New("no connection")}, 4500 * time.Millisecond, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			h := newHand(1, 1)
			go h.hold(ctx)
			msg := test.msg
			held := newTask(&msg, nil, &flow.Frame{}, time.Now())
			h.take(held)
			time.Sleep(test.hold)
			h.drop(held)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if msg.told != test.told {
				t.Errorf("%s: told %d times, want %d", name, msg.told, test.told)
			}
		})
	}
}

// More is taken while there is room, it pays, and nothing is wrong.
func TestRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		h := newHand(2, 3)
		free := func(mode flow.Mode, k int) bool {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return h.wait(ctx, mode, k)
		}
		want := func(when string, live, lossless int) {
			t.Helper()
			for mode, want := range map[flow.Mode]int{flow.ModeLive: live, flow.ModeLossless: lossless} {
				for k := range 6 {
					if got := free(mode, k); got != (k < want) {
						t.Errorf("%s: taker %d of %s may take: %v", when, k, mode, got)
					}
				}
			}
		}
		want("at first", 2, 3)
		h.aim(1, 100)
		want("while more pay", 3, 5)
		resume := h.pause()
		want("while the model is examined", 0, 0)
		resume()
		var stored []*task
		for range 2 + 3 + storeMost {
			stored = append(stored, waiting(flow.ModeLossless))
			h.take(stored[len(stored)-1])
		}
		want("while lossless results can't be stored", 3, 0)
		h.drop(stored[0])
		h.drop(stored[0]) // counts once
		want("when one is", 3, 5)
		freed := make(chan bool)
		h.take(stored[0])
		go func() { freed <- h.wait(ctx, flow.ModeLossless, 0) }()
		synctest.Wait()
		h.drop(stored[0])
		if !<-freed {
			t.Error("who waits for room does not get it")
		}
		cancel()
		if h.wait(ctx, flow.ModeLive, 0) {
			t.Error("it takes something after the end")
		}
	})
}

func TestAfterwardsLivesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		longer, cancel := afterwards(ctx)
		defer cancel()
		time.Sleep(time.Hour)
		stop()
		time.Sleep(stoppedAfter - time.Millisecond)
		if longer.Err() != nil {
			t.Fatal("it ended too early")
		}
		time.Sleep(2 * time.Millisecond)
		if longer.Err() == nil {
			t.Fatal("it does not end")
		}
	})
}
