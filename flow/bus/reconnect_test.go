package bus

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestReconnectDelay(t *testing.T) {
	for attempts, most := range map[int]time.Duration{0: reconnectLeast, 1: reconnectLeast, 2: 2 * reconnectLeast, 5: 16 * reconnectLeast, 6: reconnectMost, 1000: reconnectMost} {
		for range 100 {
			if wait := reconnectDelay(attempts); wait < most/2 || wait > most {
				t.Fatalf("after %d tries: %v, want %v to %v", attempts, wait, most/2, most)
			}
		}
	}
}

func TestTheSameErrorIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told repeats
		for i, want := range []bool{true, false, false} {
			if told.again("refused") != want {
				t.Errorf("time %d is told: %v", i+1, !want)
			}
		}
		if !told.again("another") {
			t.Error("another error is not told")
		}
		time.Sleep(repeatAfter)
		if !told.again("refused") {
			t.Error("after a minute it is not told again")
		}
		for i := range 1000 {
			told.again(string(rune('a' + i)))
		}
		if len(told.last) > repeatsKept {
			t.Errorf("%d errors are kept", len(told.last))
		}
	})
}
