package producer

import (
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

// A source that ends looks into its mailbox and then into its account: no picture may be in neither.
func TestMailboxIsHeldUntilItsPictureIsBooked(t *testing.T) {
	var m mailbox
	id := flow.FrameID{Source: "cam1", Session: "s", Seq: 1}
	if m.put(id, picture{}) != nil {
		t.Fatal("an empty mailbox had a picture")
	}
	booked := false
	got, _, ok := m.take(func(of flow.FrameID, _ picture) {
		booked = of == id
		if m.mu.TryLock() {
			t.Error("the mailbox is free before its picture is booked")
		}
	})
	if !ok || got != id || !booked {
		t.Fatalf("took %v, %v, booked %v", got, ok, booked)
	}
	if m.fresh() || m.empty(0) != nil {
		t.Error("the picture is there still")
	}
}
