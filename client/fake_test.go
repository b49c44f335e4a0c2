package client_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

// exampleGateway is the address of a gateway that knows cam1, and has one scene.
func exampleGateway() string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/sources", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Status{Type: "status"})
	})
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		var packed bytes.Buffer
		deflate := zlib.NewWriter(&packed)
		_, _ = deflate.Write([]byte{5, 0, 1, 0, 5, 0, 1, 0})
		_ = deflate.Close()
		header, _ := json.Marshal(api.SceneHeader{
			Type: "scene",
			Scene: api.Scene{
				Frame:      api.Frame{Source: "cam1", Session: "s", Seq: 1},
				Detections: []api.Detection{{Label: "person", Score: .9, Depth: &api.BoxDepth{Kind: depthmap.Metric, Value: 2.5}}},
			},
			Depth: &api.DepthHeader{Map: depthmap.Map{Width: 2, Height: 2, Kind: depthmap.Metric, Bits: 8, Offset: 1, Scale: .1}, Seq: 1, Bytes: packed.Len()},
		})
		message := append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(header))), header...), packed.Bytes()...)
		_ = conn.Write(r.Context(), websocket.MessageBinary, message)
		<-conn.CloseRead(r.Context()).Done()
	})
	return httptest.NewServer(mux).URL
}
