package api_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

// message is a header with its length before it and bytes behind it.
func message(header string, rest ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(header))), header...), rest...)
}

const frame = `"type":"scene","frame":{"source":"a","session":"s","seq":1}`

func TestParseMessage(t *testing.T) {
	t.Parallel()
	latency := 12.5
	header := api.SceneHeader{
		Type: "scene", Mode: api.ModeLive, PictureBytes: 3, LatencyMS: &latency, Dropped: 4,
		Scene: api.Scene{
			Frame: api.Frame{Source: "cam1", Session: "s", Seq: 7}, Captured: time.Unix(1, 2).UTC(), Size: [2]int{640, 480}, Outcome: api.OutcomeComplete,
			Detections: []api.Detection{{Label: "person", Score: .9, Box: [4]float32{1, 2, 3, 4}, Depth: &api.BoxDepth{Kind: depthmap.Metric, Value: 2}}},
		},
		Depth: &api.DepthHeader{Map: depthmap.Map{Width: 1, Height: 1, Kind: depthmap.Metric, Bits: 8, Scale: 1}, Seq: 6, Bytes: 2, Range: &depthmap.Range{Low: 1, High: 2}},
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	m, err := api.ParseMessage(message(string(text), 1, 2, 3, 7, 8))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Picture, []byte{1, 2, 3}) || !bytes.Equal(m.Depth.Data, []byte{7, 8}) || m.Depth.Seq != 6 || m.Depth.Range.High != 2 {
		t.Errorf("picture %v, depth %+v", m.Picture, m.Depth)
	}
	again, err := json.Marshal(m.SceneHeader)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("read as %s, want %s", again, text)
	}
	if m, err := api.ParseMessage(message(`{` + frame + `,"depth":null,"new key":[{}]}`)); err != nil || len(m.Picture) != 0 || m.Depth != nil {
		t.Errorf("neither picture nor map, and a key that is not known: %+v, %v", m, err)
	}
}

func TestParseMessageRefuses(t *testing.T) {
	t.Parallel()
	one := `"width":1,"height":1,"kind":"metric","bits":8,"scale":1`
	for name, data := range map[string][]byte{
		"nothing":           nil,
		"too short":         {1, 0, 0},
		"header too long":   {255, 255, 255, 255, '{', '}'},
		"no JSON":           message(`{"type":`),
		"another type":      message(`{"type":"status","frame":{"source":"a","session":"s","seq":1}}`),
		"no frame":          message(`{"type":"scene"}`),
		"endless name":      message(`{"type":"scene","frame":{"source":"` + strings.Repeat("a", 65) + `","seq":1}}`),
		"picture of no end": message(`{`+frame+`,"picture_bytes":9223372036854775807}`, 1),
		"negative picture":  message(`{`+frame+`,"picture_bytes":-1,"depth":{`+one+`,"bytes":2}}`, 1),
		"negative map":      message(`{`+frame+`,"picture_bytes":2,"depth":{`+one+`,"bytes":-1}}`, 1),
		"rest":              message(`{`+frame+`,"picture_bytes":1}`, 1, 2),
		"empty map":         message(`{` + frame + `,"depth":{}}`),
		"huge map":          message(`{` + frame + `,"depth":{"width":2147483647,"height":2147483647,"kind":"metric","bits":8,"scale":1}}`),
		"map out of range":  message(`{` + frame + `,"depth":{"width":1,"height":1,"kind":"metric","bits":16,"scale":3e38}}`),
		"huge picture":      message(`{` + frame + `,"size":[70000,1]}`),
		"negative size":     message(`{` + frame + `,"size":[1,-1]}`),
		"infinite box":      message(`{` + frame + `,"detections":[{"bbox":[1e39,0,0,0]}]}`),
	} {
		if m, err := api.ParseMessage(data); !errors.Is(err, api.ErrMessage) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// What is small on the wire and large in memory is refused before it is either.
func TestParseIsBounded(t *testing.T) {
	for name, parse := range map[string]func() error{
		"scene": func() error {
			_, err := api.ParseMessage(message(`{` + frame + `,"detections":[` + strings.Repeat("{},", 4<<20) + `{}]}`))
			return err
		},
		"status": func() error {
			_, err := api.ParseStatus([]byte(`{"sources":[` + strings.Repeat("{},", 4<<20) + `{}]}`))
			return err
		},
		"prediction": func() error {
			_, err := api.ParsePictureScene([]byte(`{"detections":[` + strings.Repeat("{},", 4<<20) + `{}]}`))
			return err
		},
		"nesting": func() error { _, err := api.ParseScene([]byte(strings.Repeat("[", 1<<20))); return err },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := parse()
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, api.ErrMessage) || grown > 100<<20 {
			t.Errorf("%s: %v, %d MiB were allocated", name, err, grown>>20)
		}
	}
}

func TestParseProblem(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want string
	}{
		"today":       {`{"error":"no memory"}`, "the gateway answers 503: no memory"},
		"RFC 9457":    {`{"status":418,"title":"t","detail":"no turn","reason":"full","error":"x"}`, "the gateway answers 503: no turn"},
		"a proxy's":   {`<html>`, "the gateway answers 503: Service Unavailable"},
		"nothing":     {``, "the gateway answers 503: Service Unavailable"},
		"a terminal":  {`{"error":"a\u001b[2Jb"}`, "the gateway answers 503: a [2Jb"},
		"of no shape": {`[1]`, "the gateway answers 503: Service Unavailable"},
	} {
		if got := api.ParseProblem(503, []byte(test.body)); got.Error() != test.want || got.Status != 503 {
			t.Errorf("%s: %v, want %s", name, got, test.want)
		}
	}
}

// What a gateway sends is not believed.
func FuzzParseMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255})
	f.Add(message(`{`+frame+`,"picture_bytes":2,"depth":null}`, 1, 2))
	f.Add(message(`{`+frame+`,"picture_bytes":1,"depth":{"width":1,"height":1,"kind":"metric","bits":8,"scale":1,"bytes":1}}`, 1, 2))
	f.Add(message(`{`+frame+`,"picture_bytes":-1,"depth":{"bytes":3},"answers":{"pose":{"a":[1,{"b":"\\\""}]}}}`, 1, 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := api.ParseMessage(data)
		if err != nil {
			if !errors.Is(err, api.ErrMessage) {
				t.Errorf("%v is not ErrMessage", err)
			}
			return
		}
		if len(m.Picture) != m.PictureBytes || m.Depth != nil && (len(m.Depth.Data) != m.Depth.Bytes || m.Depth.Validate() != nil) {
			t.Errorf("%d bytes of picture, want %d; depth %+v", len(m.Picture), m.PictureBytes, m.Depth)
		}
	})
}

func FuzzParseCaller(f *testing.F) {
	f.Add([]byte(`{"name":"wall","may":["view"],"sources":["cam*"],"expires":"2027-01-31T00:00:00Z"}`))
	f.Add([]byte(`{"name":"anonymous","may":[],"sources":null,"expires":"soon"}`))
	f.Add([]byte(`{"may":` + strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if caller, err := api.ParseCaller(data); (caller == nil) != errors.Is(err, api.ErrMessage) {
			t.Errorf("%+v, %v", caller, err)
		}
	})
}
