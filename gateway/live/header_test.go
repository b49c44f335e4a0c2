package live

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// A header that is put together is the one that the type says, and what all viewers get of it is encoded once.
func TestHeader(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		next := newShown(scene("a", "s", 7, true))
		next.depth.stable = &depthmap.Range{Low: 1, High: 9}
		for _, depth := range []*depthMap{nil, next.depth} {
			p := parcel{scene: next, stale: stale, dropped: 3}
			head, err := next.head()
			if err != nil {
				t.Fatal(err)
			}
			tail, err := p.appendTail(nil, 1234, depth, 12345678*time.Nanosecond)
			if err != nil {
				t.Fatal(err)
			}
			ms := 12.345
			want := api.SceneHeader{Type: "scene", Scene: next.json, Mode: next.scene.Mode, PictureBytes: 1234, Dropped: 3, LatencyMS: &ms}
			if stale {
				want.LatencyMS = nil
			}
			if depth != nil {
				want.Depth = &api.DepthHeader{Map: *depth.packed, Seq: 7, Bytes: 1, Range: depth.stable}
			}
			whole, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(whole), string(head)+string(tail)); diff != "" {
				t.Errorf("header differs (-want +got):\n%s", diff)
			}
			again, _ := next.with(nil).head()
			if &again[0] != &head[0] {
				t.Error("encoded again for another viewer")
			}
		}
	}
}

// Who wants a few scenes a second gets them evenly, the newest each time, and what is between is not counted as dropped.
func TestMostScenesPerSecond(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := newViewer(nil, 0)
	h.join(v)
	v.want(wantsOf(api.Watch{MaxFPS: 10}))
	h.follow(v, []string{"a"})
	now := time.Now().Add(time.Hour) // offers are made before it: none is due
	var got []uint64
	for seq := uint64(1); seq <= 30; seq++ { // 30 a second
		h.addScene(scene("a", "s", seq, false), false)
		if p, ok := v.take(now); ok {
			got = append(got, p.scene.scene.Seq)
			if p.dropped != 0 {
				t.Errorf("scene %d: %d dropped", p.scene.scene.Seq, p.dropped)
			}
		} else if wait := p.due.Sub(now); wait <= 0 || wait > 100*time.Millisecond {
			t.Errorf("scene %d waits for %v", seq, wait)
		}
		now = now.Add(time.Second / 30)
	}
	if want := []uint64{1, 4, 7, 10, 13, 16, 19, 22, 25, 28}; len(got) < len(want) || len(got) > len(want)+1 || !slices.IsSorted(got) {
		t.Errorf("%v come, want ten like %v", got, want)
	}
}

func TestWatchMessages(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"sources":["a"]}`: true,
		`{"sources":[],"max_fps":2.5,"max_width":640,"depth":false,"adapt":true,"part_bytes":16384}`: true,
		`{"sources":["predict-abc"]}`:       false,
		`{"sources":[],"max_fps":-1}`:       false,
		`{"sources":[],"max_fps":0.001}`:    false,
		`{"sources":[],"max_fps":1e9}`:      false,
		`{"sources":[],"max_width":159}`:    false,
		`{"sources":[],"max_width":-640}`:   false,
		`{"sources":[],"part_bytes":1}`:     false,
		`{"sources":[],"part_bytes":-1024}`: false,
	} {
		if _, _, err := parseWatch([]byte(text), 20); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
