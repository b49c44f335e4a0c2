package producer_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	decoder "github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/producer"
)

func picture(t testing.TB, encode func(*bytes.Buffer, image.Image) error) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := encode(&out, image.NewRGBA(image.Rect(0, 0, 64, 48))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func asJPEG(out *bytes.Buffer, img image.Image) error { return jpeg.Encode(out, img, nil) }
func asPNG(out *bytes.Buffer, img image.Image) error  { return png.Encode(out, img) }

// startIngest is a producer that takes ingest, with two quick groups behind it.
func startIngest(t *testing.T, groups ...*group) (bench, *life) {
	t.Helper()
	b := newBench(t)
	if len(groups) == 0 {
		groups = []*group{{name: "detect"}, {name: "depth"}}
	}
	b.serve(t, groups...)
	l := b.start(t, func(c *producer.Config) { c.Ingest = true })
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		msg, err := b.bus.Conn().Request("ingest.ready", nil, time.Second)
		if err == nil && strings.Contains(string(msg.Data), "empty message") {
			return b, l
		}
		if time.Since(begin) > patience {
			t.Fatalf("ingest is not taken: %v", err)
		}
	}
}

// What is ingested, bare or in a frame, and what lies in a folder look to the models as they do to whoever decodes all kinds of
// pictures.
func TestDoorsSeeWhatPeopleSee(t *testing.T) {
	t.Parallel()
	folders := []string{"../flow/picture/testdata"}
	if peoples, there := reference.Part(t, "cases", "pictures"); there {
		folders = append(folders, peoples)
	}
	var files []string
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, "*.*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no pictures in %s: %v", folder, err)
		}
		files = append(files, slices.DeleteFunc(found, func(f string) bool { return filepath.Ext(f) == ".py" })...)
	}
	b, l := startIngest(t)
	accepted, err := b.bus.Conn().SubscribeSync("accepted.live.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := flow.Encode(nil, &flow.Frame{Version: 1, Picture: data})
		if err != nil {
			t.Fatal(err)
		}
		file, refused := decoder.Open(data)
		for door, message := range map[string][]byte{"bare": data, "frame": frame} {
			_, err := b.bus.JetStream().Publish(t.Context(), "ingest.cam-"+door, message)
			if refused != nil {
				if err == nil || !strings.Contains(err.Error(), refused.Error()) {
					t.Errorf("%s, %s: %v, want %v", name, door, err, refused)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", name, door, err)
				continue
			}
			msg, err := accepted.NextMsg(patience)
			if err != nil {
				t.Fatal(err)
			}
			var f flow.Frame
			if err := flow.Decode(msg.Data, &f); err != nil || f.Width != file.Width || f.Height != file.Height {
				t.Errorf("%s, %s: %dx%d, %v", name, door, f.Width, f.Height, err)
			}
			looksLike(t, name, f.Picture, file)
		}
		read, err := producer.OpenPictures(t.Context(), name)
		if err != nil {
			if refused == nil || !strings.Contains(err.Error(), refused.Error()) {
				t.Errorf("%s: %v, want %v", name, err, refused)
			}
			continue
		}
		jpegs, err := read.Next(t.Context())
		if refused != nil {
			if err == nil || !strings.Contains(err.Error(), refused.Error()) {
				t.Errorf("%s, a file: %v, want %v", name, err, refused)
			}
		} else if err != nil {
			t.Errorf("%s, a file: %v", name, err)
		} else {
			looksLike(t, name, jpegs, file)
		}
		if err := read.Close(); err != nil {
			t.Error(err)
		}
	}
	l.stop()
}

// looksLike compares a JPEG with what is in a file.
func looksLike(t *testing.T, name string, data []byte, file decoder.File) {
	t.Helper()
	want, err := file.Decode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil || got.Bounds() != want.Rect {
		t.Errorf("%s: %v, %v, want %v", name, got, err, want.Rect)
		return
	}
	sum, apart := 0, func(a, b uint8) int { return int(max(a, b) - min(a, b)) }
	for y := range want.Rect.Dy() {
		for x := range want.Rect.Dx() {
			c, w := color.RGBAModel.Convert(got.At(x, y)).(color.RGBA), want.RGBAAt(x, y)
			sum += apart(c.R, w.R) + apart(c.G, w.G) + apart(c.B, w.B)
		}
	}
	if mean := float64(sum) / float64(3*file.Width*file.Height); mean > 6 {
		t.Errorf("%s: differs by %.1f in the mean", name, mean)
	}
}

// captured is a frame with a capture time.
func captured(t *testing.T, at int64) []byte {
	t.Helper()
	data, err := flow.Encode(nil, &flow.Frame{Version: 1, Captured: at, Picture: picture(t, asJPEG)})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Whoever asks gets the ack of the admitted frame: by a request, and by JetStream's own publish.
func TestIngestAcks(t *testing.T) {
	t.Parallel()
	b, l := startIngest(t)
	data := picture(t, asJPEG)
	frame, err := flow.Encode(nil, &flow.Frame{Version: 1, Source: "cam2", Captured: time.Unix(1_700_000_000, 5).UnixNano(), Picture: data})
	if err != nil {
		t.Fatal(err)
	}
	tomorrow, err := flow.Encode(nil, &flow.Frame{Version: 1, Captured: time.Now().Add(24 * time.Hour).UnixNano(), Picture: data})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := b.bus.Conn().SubscribeSync("accepted.live.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		source string
		data   []byte
		check  func(*flow.Frame) bool
	}{
		{"cam1", data, func(f *flow.Frame) bool { return bytes.Equal(f.Picture, data) }},
		{"cam1", picture(t, asPNG), func(f *flow.Frame) bool { return f.Seq == 2 && bytes.HasPrefix(f.Picture, []byte{0xff, 0xd8}) }},
		{"cam2", frame, func(f *flow.Frame) bool {
			return f.Captured == 1_700_000_000_000_000_005 && bytes.Equal(f.Picture, data)
		}},
		{"cam4", captured(t, int64(5*time.Minute)), func(f *flow.Frame) bool { return f.Captured > time.Now().Add(-time.Hour).UnixNano() }}, // a clock that was never set
		{"cam3", tomorrow, func(f *flow.Frame) bool { return f.Captured <= time.Now().UnixNano() }},
	} {
		ack, err := b.bus.JetStream().Publish(t.Context(), "ingest."+test.source, test.data)
		if err != nil || ack.Stream != "FRAMES_LIVE" || ack.Sequence == 0 {
			t.Fatalf("%s: ack %+v, %v", test.source, ack, err)
		}
		msg, err := accepted.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var f flow.Frame
		if err := errors.Join(flow.Decode(msg.Data, &f), f.Validate()); err != nil || f.Source != test.source || f.Width != 64 || f.Height != 48 || !test.check(&f) {
			t.Errorf("%s: frame %+v, %v", test.source, f.ID(), err)
		}
	}
	if err := b.bus.Conn().Publish("ingest.cam1", data); err != nil { // nobody waits for this one's answer
		t.Fatal(err)
	}
	if _, err := accepted.NextMsg(patience); err != nil {
		t.Errorf("without a reply subject: %v", err)
	}
	for _, s := range l.stop() {
		if err := s.Account.CheckAtRest(); err != nil || s.State != flow.StateStopped || s.URI != "ingest."+s.Source {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// What is no picture of a source is refused with the reason, as JetStream does, and counted; the rest goes on.
func TestIngestRefuses(t *testing.T) {
	t.Parallel()
	b, l := startIngest(t)
	bomb, cut := picture(t, asPNG), picture(t, asJPEG)
	floating, err := msgpack.Marshal(map[string]any{"v": 1, "cap": 1_795_000_000.25, "pic": picture(t, asJPEG)}) // Python's time.time()
	if err != nil {
		t.Fatal(err)
	}
	copy(bomb[16:24], []byte{0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30}) // 30,000 x 30,000
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	foreign, err := flow.Encode(nil, &flow.Frame{Version: 1, Source: "cam9", Picture: picture(t, asJPEG)})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := flow.Encode(nil, &flow.Frame{Version: 99, Picture: picture(t, asJPEG)})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		subject string
		data    []byte
		says    string
	}{
		"text":             {"ingest.cam1", []byte("no picture"), "JPEG, PNG"},
		"nothing":          {"ingest.cam1", nil, "empty message"},
		"cut short":        {"ingest.cam1", picture(t, asPNG)[:50], "PNG: "},
		"a bomb":           {"ingest.cam1", bomb, "30000x30000"},
		"seconds":          {"ingest.cam1", captured(t, 1_795_000_000), "capture time 1795000000 (key cap) looks like seconds: it is nanoseconds since 1970"},
		"milliseconds":     {"ingest.cam1", captured(t, 1_795_000_000_123), "looks like milliseconds"},
		"microseconds":     {"ingest.cam1", captured(t, 1_795_000_000_123_456), "looks like microseconds"},
		"seconds as float": {"ingest.cam1", floating, "decoding int64"},
		"a JPEG cut":       {"ingest.cam1", cut[:len(cut)-2], "64x48 is cut short"},
		"dots":             {"ingest.cam.1", picture(t, asJPEG), "letters, digits"},
		"reserved":         {"ingest.predict-x", picture(t, asJPEG), "gateways"},
		"hostile msgpack":  {"ingest.cam1", []byte("\x81\xa1z\xdd\xff\xff\xff\xff"), "refused"},
		"another's frame":  {"ingest.cam1", foreign, `"cam9" (key src)`},
		"of a new version": {"ingest.cam1", newer, "frame version 99"},
		"no picture key":   {"ingest.cam1", []byte("\x81\xa1v\x01"), "key pic"},
	} {
		_, err := b.bus.JetStream().Publish(t.Context(), test.subject, test.data, jetstream.WithRetryAttempts(0))
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.Code != 400 || !strings.Contains(api.Description, test.says) {
			t.Errorf("%s: %v, want code 400 and %q", name, err, test.says)
		}
	}
	if _, err := b.bus.JetStream().Publish(t.Context(), "ingest.cam1", picture(t, asJPEG)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n, err := testutil.GatherAndCount(l.metrics, "spatialflow_refused_total"); err != nil || n == 0 {
		t.Errorf("refusals are not counted: %d, %v", n, err)
	}
	l.stop()
}

// Faster than the groups are: what is overtaken is told so.
func TestIngestOvertaken(t *testing.T) {
	t.Parallel()
	b, l := startIngest(t, &group{name: "detect", work: 200 * time.Millisecond}, &group{name: "depth", work: 200 * time.Millisecond})
	inbox, err := b.bus.Conn().SubscribeSync("_INBOX.answers")
	if err != nil {
		t.Fatal(err)
	}
	const sent = 20
	data := picture(t, asJPEG)
	for range sent {
		if err := b.bus.Conn().PublishRequest("ingest.cam1", "_INBOX.answers", data); err != nil {
			t.Fatal(err)
		}
	}
	acked, skipped := 0, 0
	for range sent {
		msg, err := inbox.NextMsg(patience)
		if err != nil {
			t.Fatalf("after %d answers: %v", acked+skipped, err)
		}
		var answer struct {
			Stream string              `json:"stream"`
			Error  *jetstream.APIError `json:"error"`
		}
		switch err := json.Unmarshal(msg.Data, &answer); {
		case err != nil:
			t.Fatal(err)
		case answer.Stream == "FRAMES_LIVE":
			acked++
		case answer.Error != nil && answer.Error.Code == 503 && strings.Contains(answer.Error.Description, "overtaken"):
			skipped++
		default:
			t.Errorf("answer %s", msg.Data)
		}
	}
	if acked == 0 || skipped == 0 {
		t.Errorf("%d acked, %d skipped of %d", acked, skipped, sent)
	}
	for _, s := range l.stop() {
		if s.Account.Captured != sent || s.Account.Skipped["overtaken"] != uint64(skipped) {
			t.Errorf("account %+v", s.Account)
		}
	}
}

// Of two producers one takes ingest; when it stops the other does.
func TestIngestHasOneOwner(t *testing.T) {
	t.Parallel()
	b, first := startIngest(t)
	second := b.start(t, func(c *producer.Config) { c.Ingest = true })
	data := picture(t, asJPEG)
	for range 5 {
		if _, err := b.bus.JetStream().Publish(t.Context(), "ingest.cam1", data); err != nil {
			t.Fatal(err)
		}
	}
	if s := second.board.Statuses(); len(s) != 0 {
		t.Errorf("both take ingest: %+v", s)
	}
	if s := first.stop(); len(s) != 1 || s[0].Account.Admitted != 5 {
		t.Errorf("the owner's account: %+v", s)
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := b.bus.JetStream().Publish(t.Context(), "ingest.cam1", data, jetstream.WithRetryAttempts(0)); err == nil {
			break
		}
		if time.Since(begin) > patience {
			t.Fatal("nobody takes over")
		}
	}
	second.stop()
}

// The reference pictures go through byte for byte.
func TestIngestPictures(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "data", "images")
	b, l := startIngest(t)
	accepted, err := b.bus.Conn().SubscribeSync("accepted.live.>")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.jpg"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d pictures, %v", len(paths), err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.bus.JetStream().Publish(t.Context(), "ingest.cam1", data); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		msg, err := accepted.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var f flow.Frame
		if err := flow.Decode(msg.Data, &f); err != nil || !bytes.Equal(f.Picture, data) {
			t.Errorf("%s did not travel byte for byte: %v", path, err)
		}
	}
	l.stop()
}
