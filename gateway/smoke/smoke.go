// Package smoke tries a deployment as its users would: it posts a picture, publishes one to NATS, and reads its scene.
package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway/credentials"
)

// ErrSmoke is returned when a deployment does not do what it is for.
var ErrSmoke = errors.New("the deployment does not work")

const (
	pictureSide = 320 // pixels
	retryEvery  = time.Second
	ingestWait  = 2 * time.Second  // for the answer to a picture that is published
	sceneWait   = 10 * time.Second // for its scene: a frame that expired has none, then another is published
)

// Command is the command line of smoke.
type Command struct {
	service.Connection
	service.Logging
	credentials.Flags
	Gateway string        `default:"http://127.0.0.1:8000" help:"Where the gateway is."`
	Source  string        `default:"smoke" help:"Name of the source that the picture is published as."`
	Timeout time.Duration `default:"2m" help:"How long all of it may take; what fails meanwhile is tried again, but for a token or a certificate that is not good."`
}

// Validate returns an error, naming the flag, when the settings can't be meant.
func (c *Command) Validate() error {
	if err := c.Connection.Validate(); err != nil {
		return err
	}
	if err := flow.ValidToken("--source", c.Source); err != nil {
		return err
	}
	if _, err := client.New(c.Gateway, client.Options{}); err != nil {
		return fmt.Errorf("--gateway: %w", err)
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
	options, err := c.Options()
	if err != nil {
		return err
	}
	gateway, err := client.New(c.Gateway, options)
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
		{"status", func(ctx context.Context) (string, error) { return c.status(ctx, gateway) }},
		{"predict", func(ctx context.Context) (string, error) { return c.predict(ctx, gateway, picture) }},
		{"publish and watch", func(ctx context.Context) (string, error) { return c.publishAndWatch(ctx, gateway, b, picture) }},
	} {
		begin := time.Now()
		saw, err := step.do(ctx)
		for err != nil && !credentials.Final(err) && clock.Sleep(ctx, retryEvery) {
			saw, err = step.do(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSmoke, step.name, c.Explain(err))
		}
		fmt.Fprintf(out, "ok  %-18s %s (%v)\n", step.name, saw, time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// status wants the gateway to answer.
func (c *Command) status(ctx context.Context, gateway *client.Client) (string, error) {
	status, err := gateway.Status(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d sources", len(status.Sources)), nil
}

// predict wants a picture's answer.
func (c *Command) predict(ctx context.Context, gateway *client.Client, picture []byte) (string, error) {
	scene, err := gateway.Predict(ctx, picture, client.Question{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d detections of %s", len(scene.Detections), strings.Join(scene.Plan, ", ")), nil
}

// publishAndWatch publishes a picture to NATS until a viewer has its scene with the picture.
func (c *Command) publishAndWatch(ctx context.Context, gateway *client.Client, b *bus.Bus, picture []byte) (string, error) {
	within, cancel := context.WithTimeout(ctx, sceneWait)
	defer cancel()
	published := false
	for event, err := range gateway.Events(within, api.Watch{Sources: []string{c.Source}}) {
		scene := event.Scene
		switch {
		case err != nil:
			return "", fmt.Errorf("watch %s: %w", c.Source, err)
		case event.Lost != nil:
			return "", fmt.Errorf("watch %s: %w", c.Source, event.Lost)
		case !published: // it is watched now
			if err := publish(ctx, b, c.Source, picture); err != nil {
				return "", err
			}
			published = true
		case scene != nil && scene.PictureBytes > 0 && scene.LatencyMS != nil: // fresh, not the one of an earlier try
			saw := fmt.Sprintf("scene %s, %s", scene.Frame, scene.Outcome)
			for _, group := range slices.Sorted(maps.Keys(scene.Answers)) {
				saw += fmt.Sprintf(", %d answers of %s", len(scene.Answers[group]), group)
			}
			return saw, nil
		}
	}
	return "", fmt.Errorf("no scene of %s came within %v", c.Source, sceneWait)
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
