// Package smoke tries a deployment as its users would: it posts a picture, publishes one to NATS, and reads its scene.
package smoke

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
)

// ErrSmoke is returned when a deployment does not do what it is for.
var ErrSmoke = errors.New("the deployment does not work")

const (
	pictureSide = 320 // pixels
	maxAnswer   = 16 << 20
	retryEvery  = time.Second
	ingestWait  = 2 * time.Second // for the answer to a picture that is published
)

// Command is the command line of smoke.
type Command struct {
	service.Connection
	service.Logging
	Gateway string        `default:"http://127.0.0.1:8000" help:"Where the gateway is."`
	Source  string        `default:"smoke" help:"Name of the source that the picture is published as."`
	Timeout time.Duration `default:"2m" help:"How long all of it may take; what fails meanwhile is tried again."`
}

// Validate returns an error, naming the flag, when the settings can't be meant.
func (c *Command) Validate() error {
	if err := c.Connection.Validate(); err != nil {
		return err
	}
	if err := flow.ValidToken("--source", c.Source); err != nil {
		return err
	}
	if !strings.HasPrefix(c.Gateway, "http://") && !strings.HasPrefix(c.Gateway, "https://") {
		return fmt.Errorf("--gateway %q is no http:// or https:// address", c.Gateway)
	}
	return nil
}

// Main is the program smoke.
func Main() {
	service.Once("smoke", "Tries a deployment: posts a picture, publishes one to NATS, and reads its scene by websocket.", func(ctx context.Context, c *Command) error {
		return c.Run(ctx, os.Stdout, os.Stderr)
	})
}

// Run tells each step on out. [ErrSmoke] is returned, naming the step and what it saw last, when one does not succeed in time.
func (c *Command) Run(ctx context.Context, out, log io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	picture, err := testPicture()
	if err != nil {
		return err
	}
	b, err := c.Connect(ctx, "publisher", c.Logger(log))
	if err != nil {
		return fmt.Errorf("%w: connect: %w", ErrSmoke, err)
	}
	defer b.Close()
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"status", c.status},
		{"POST /predict", func(ctx context.Context) (string, error) { return c.predict(ctx, picture) }},
		{"publish and watch", func(ctx context.Context) (string, error) { return c.publishAndWatch(ctx, b, picture) }},
	} {
		begin := time.Now()
		saw, err := step.do(ctx)
		for err != nil && clock.Sleep(ctx, retryEvery) {
			saw, err = step.do(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSmoke, step.name, err)
		}
		fmt.Fprintf(out, "ok  %-18s %s (%v)\n", step.name, saw, time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// status wants the gateway to answer.
func (c *Command) status(ctx context.Context) (string, error) {
	var status struct {
		Groups []struct {
			Group   string `json:"group"`
			Workers int    `json:"workers"`
		} `json:"groups"`
	}
	if err := c.call(ctx, http.MethodGet, "/api/v1/status", "", nil, &status); err != nil {
		return "", err
	}
	var groups []string
	for _, g := range status.Groups {
		groups = append(groups, fmt.Sprintf("%s: %d workers", g.Group, g.Workers))
	}
	return strings.Join(groups, ", "), nil
}

// predict wants a picture's answer.
func (c *Command) predict(ctx context.Context, picture []byte) (string, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "picture.jpg")
	if err == nil {
		_, err = part.Write(picture)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		return "", err
	}
	var answer predict.Prediction
	if err := c.call(ctx, http.MethodPost, "/predict", form.FormDataContentType(), body.Bytes(), &answer); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d detections, %d bytes of depth map", len(answer.Detections), len(answer.DepthMap)), nil
}

func (c *Command) call(ctx context.Context, method, path, kind string, body []byte, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Gateway, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers %d: %.200s", path, answer.StatusCode, bytes.TrimSpace(data))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// publishAndWatch publishes a picture to NATS until a viewer has its scene with the picture.
func (c *Command) publishAndWatch(ctx context.Context, b *bus.Bus, picture []byte) (string, error) {
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(strings.TrimSuffix(c.Gateway, "/"), "http")+"/ws", nil)
	if err != nil {
		return "", fmt.Errorf("open the websocket: %w", err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxAnswer)
	watch, err := json.Marshal(live.Watch{Sources: []string{c.Source}})
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, watch)
	}
	if err != nil {
		return "", fmt.Errorf("watch %s: %w", c.Source, err)
	}
	if err := publish(ctx, b, c.Source, picture); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second) // a frame that expired has no scene: then another is published
	defer cancel()
	for {
		kind, data, err := conn.Read(within)
		if err != nil {
			return "", fmt.Errorf("no scene of %s came: %w", c.Source, err)
		}
		if kind != websocket.MessageBinary {
			continue
		}
		header, err := readHeader(data)
		if err != nil {
			return "", err
		}
		if header.Frame.Source == c.Source && header.PictureBytes > 0 && header.LatencyMS != nil { // fresh, not the one of an earlier try
			saw := fmt.Sprintf("scene %s, %s", header.Frame, header.Outcome)
			for _, group := range slices.Sorted(maps.Keys(header.Answers)) {
				saw += fmt.Sprintf(", %d answers of %s", len(header.Answers[group]), group)
			}
			return saw, nil
		}
	}
}

// publish wants the ack of the frame that the picture becomes.
func publish(ctx context.Context, b *bus.Bus, source string, picture []byte) error {
	subject := "ingest." + source
	call, cancel := context.WithTimeout(ctx, ingestWait)
	defer cancel()
	answer, err := b.Conn().RequestWithContext(call, b.Subject(subject), picture)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	var ack struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	if ack.Error != nil {
		return fmt.Errorf("publish to %s: %s", subject, ack.Error.Description)
	}
	return nil
}

func readHeader(message []byte) (*live.SceneHeader, error) {
	header := new(live.SceneHeader)
	if len(message) < 4 || uint64(binary.LittleEndian.Uint32(message)) > uint64(len(message)-4) {
		return nil, errors.New("the websocket sends no scene")
	}
	if err := json.Unmarshal(message[4:4+binary.LittleEndian.Uint32(message)], header); err != nil {
		return nil, fmt.Errorf("read a scene's header: %w", err)
	}
	return header, nil
}

// testPicture is a JPEG in which brightness rises to the right.
func testPicture() ([]byte, error) {
	grey := image.NewGray(image.Rect(0, 0, pictureSide, pictureSide))
	for y := range pictureSide {
		for x := range pictureSide {
			grey.SetGray(x, y, color.Gray{Y: uint8(255 * x / pictureSide)})
		}
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, grey, nil); err != nil {
		return nil, fmt.Errorf("make a picture: %w", err)
	}
	return data.Bytes(), nil
}
