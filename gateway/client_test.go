package gateway_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"testing"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// client is a viewer.
type client struct {
	t    testing.TB
	conn *websocket.Conn
}

// dial opens a websocket without saying anything.
func (r *runner) dial() client {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+r.address+"/ws", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	r.t.Cleanup(func() { conn.CloseNow() })
	return client{r.t, conn}
}

// watch opens a websocket for sources.
func (r *runner) watch(sources ...string) client {
	r.t.Helper()
	c := r.dial()
	c.watch(sources...)
	c.status(func(api.Status) bool { return true }) // it is watching now
	return c
}

func (c client) watch(sources ...string) {
	c.t.Helper()
	if sources == nil {
		sources = []string{}
	}
	data, err := json.Marshal(api.Watch{Sources: sources})
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(data)
}

func (c client) write(data []byte) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, data); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) read() (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	return c.conn.Read(ctx)
}

// message is a scene message, taken apart.
type message struct {
	header  api.SceneHeader
	picture []byte
	depth   []byte
}

// scene is the next scene; status messages are passed over.
func (c client) scene() message {
	c.t.Helper()
	for {
		kind, data, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		if kind == websocket.MessageText {
			continue
		}
		var m message
		n := binary.LittleEndian.Uint32(data)
		if err := json.Unmarshal(data[4:4+n], &m.header); err != nil {
			c.t.Fatal(err)
		}
		rest := data[4+n:]
		m.picture, m.depth = rest[:m.header.PictureBytes], rest[m.header.PictureBytes:]
		want := 0
		if m.header.Depth != nil {
			want = m.header.Depth.Bytes
		}
		if len(m.depth) != want || m.header.Type != "scene" {
			c.t.Fatalf("%d bytes of depth, header %+v", len(m.depth), m.header)
		}
		return m
	}
}

// status is the next status that fits; scenes are passed over.
func (c client) status(fits func(api.Status) bool) api.Status {
	c.t.Helper()
	for {
		kind, data, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		var s api.Status
		if kind != websocket.MessageText {
			continue
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Type != "status" {
			c.t.Fatalf("status %s: %v", data, err)
		}
		if fits(s) {
			return s
		}
	}
}

// closed waits for the end and answers its code and reason.
func (c client) closed() (websocket.StatusCode, string) {
	c.t.Helper()
	for {
		_, _, err := c.read()
		var end websocket.CloseError
		if errors.As(err, &end) {
			return end.Code, end.Reason
		}
		if err != nil {
			c.t.Fatalf("not closed but: %v", err)
		}
	}
}
