package gateway_test

import (
	"net"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A picture that is under way when the gateway is told to stop is answered; nothing new is taken, and viewers are told at
// once to come again.
func TestStopAnswersWhatIsInHand(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	m := &models{after: time.Second}
	r := b.startPredict(t, m, nil)
	c := r.watch("cam1")
	answered := make(chan answer, 1)
	go func() { answered <- r.post("/predict", "file", picture(t, 2)) }()
	r.eventually("the picture is under way", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.now == 1
	})
	r.cancel()
	if code, _ := c.closed(); code != websocket.StatusServiceRestart {
		t.Errorf("the viewer is closed with %v, want %v", code, websocket.StatusServiceRestart)
	}
	r.eventually("it takes no more", func() bool {
		conn, err := net.Dial("tcp", r.address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if a := <-answered; a.code != 200 || a.DepthMap == nil {
		t.Errorf("the picture under way is answered %d %s", a.code, a.body)
	}
	r.stop()
}
