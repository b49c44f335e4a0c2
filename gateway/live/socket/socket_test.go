package socket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/gateway/live/socket"
)

const patience = 3 * time.Minute

// pair is a viewer's connection and the gateway's end of it.
func pair(t testing.TB, within time.Duration, secure bool) (viewer, conn *websocket.Conn, out *socket.Socket) {
	t.Helper()
	ready, done := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if conn, out, err = socket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}, within); err != nil {
			t.Error(err)
		}
		close(ready)
		<-done
	}))
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	viewer, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	<-ready
	viewer.SetReadLimit(-1)
	t.Cleanup(func() {
		_ = viewer.CloseNow()
		_ = conn.CloseNow()
		close(done)
		server.Close()
	})
	return viewer, conn, out
}

func noise(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	return data
}

// What is sent in parts comes whole, in as many messages as are asked for, while the viewer pings all the time.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%t", secure), func(t *testing.T) { t.Parallel(); send(t, secure) })
	}
}

func send(t *testing.T, secure bool) {
	viewer, conn, out := pair(t, patience, secure)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { _, _, _ = conn.Read(ctx) }() // answers pings
	pinging, stop := make(chan error, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				pinging <- nil
				return
			default:
			}
			if err := viewer.Ping(ctx); err != nil {
				pinging <- err
				return
			}
		}
	}()
	type sent struct {
		most  int
		parts [][]byte
	}
	var all []sent
	for _, most := range []int{0, 1000, 1 << 16} {
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 300_000} {
			all = append(all, sent{most, [][]byte{noise(4), {}, noise(n), nil, noise(n / 3)}})
		}
	}
	go func() {
		for _, s := range all {
			if err := out.Send(websocket.MessageBinary, s.most, append([][]byte{}, s.parts...)...); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, s := range all {
		whole := bytes.Join(s.parts, nil)
		for got := []byte{}; len(got) < len(whole); {
			kind, data, err := viewer.Read(ctx)
			if err != nil || kind != websocket.MessageBinary || s.most == 0 && len(data) != len(whole) || s.most > 0 && len(data) > s.most {
				t.Fatalf("%d of %d bytes at most %d: %d more, %v %v", len(got), len(whole), s.most, len(data), kind, err)
			}
			if got = append(got, data...); !bytes.HasPrefix(whole, got) {
				t.Fatalf("%d bytes at most %d: something else came", len(whole), s.most)
			}
		}
	}
	close(stop)
	go func() { _, _, _ = viewer.Read(ctx) }() // takes the last answer
	if err := <-pinging; err != nil {
		t.Errorf("ping: %v", err)
	}
}

// A viewer that takes something within the time is not too slow, however long a message takes; one that takes nothing is.
func TestSlowViewers(t *testing.T) {
	t.Parallel()
	const within = 3 * time.Second // a busy machine stands still for less
	for _, test := range []struct{ reads, secure bool }{{true, false}, {false, false}, {true, true}, {false, true}} {
		reads := test.reads
		t.Run(fmt.Sprintf("reads=%t,TLS=%t", reads, test.secure), func(t *testing.T) {
			t.Parallel()
			viewer, _, out := pair(t, within, test.secure)
			if reads {
				go func() {
					_, reader, err := viewer.Reader(t.Context())
					for err == nil {
						_, err = io.CopyN(io.Discard, reader, 400_000)
						time.Sleep(within / 5) // a slow line
					}
				}()
			}
			began := time.Now()
			err := out.Send(websocket.MessageBinary, 0, noise(6<<20)) // more than sockets hold
			if !reads && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("nothing is read: %v", err)
			}
			if took := time.Since(began); reads && (err != nil || took < within) {
				t.Errorf("read slowly: %v after %v", err, took)
			}
		})
	}
}

func TestNothingFollowsTheClosing(t *testing.T) {
	t.Parallel()
	viewer, conn, out := pair(t, patience, false)
	go func() { _ = conn.Close(websocket.StatusGoingAway, "") }()
	if _, _, err := viewer.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Fatal(err)
	}
	if err := out.Send(websocket.MessageText, 0, []byte("{}")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("sent after the closing: %v", err)
	}
}

// BenchmarkSend is a scene as viewers get it: header, picture and depth map, without TLS and with it.
func BenchmarkSend(b *testing.B) {
	parts := [][]byte{noise(4), noise(600), noise(60), noise(10_000), noise(3_000)}
	size := len(bytes.Join(parts, nil))
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("TLS=%t", secure), func(b *testing.B) {
			viewer, _, out := pair(b, patience, secure)
			go func() {
				for {
					if _, reader, err := viewer.Reader(b.Context()); err != nil {
						return
					} else if _, err := io.Copy(io.Discard, reader); err != nil {
						return
					}
				}
			}()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := out.Send(websocket.MessageBinary, 0, append(make([][]byte, 0, len(parts)), parts...)...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
