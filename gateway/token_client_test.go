package gateway_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	reader "github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
)

// A reader goes on with another token when its own is withdrawn, whichever of the two files is changed first; one that never had a good
// one ends.
func TestClientGoesOnWithAnotherToken(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	f := newTokenFile(t, "view")
	r := b.startWith(t, f)
	own := filepath.Join(t.TempDir(), "token")
	give := func(name string) {
		t.Helper()
		if err := os.WriteFile(own, []byte(secret(name)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	give("nobody")
	c, err := reader.New("http://"+r.address, reader.Options{Token: reader.TokenFile(own)})
	if err != nil {
		t.Fatal(err)
	}
	var p *api.Problem
	for _, err := range c.Events(t.Context(), api.Watch{}) {
		if !errors.Is(err, reader.ErrToken) || !errors.As(err, &p) || p.Reason != "token_wrong" {
			t.Errorf("a token that nobody knows: %v", err)
		}
	}
	give("view")
	if caller, err := c.Caller(t.Context()); err != nil || caller.Name != "view" || !slices.Equal(caller.May, []string{api.MayView}) || caller.Expires != nil {
		t.Errorf("the caller is %+v, %v", caller, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b.publish(t, "cam1", "s", 1)
	scenes, lost := 0, 0
	for event, err := range c.Events(ctx, api.Watch{Sources: []string{"cam1"}}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case event.Lost != nil:
			if lost++; !errors.Is(event.Lost, reader.ErrToken) {
				t.Errorf("lost for %v", event.Lost)
			}
			if lost == 2 {
				give("view-predict")
			}
			b.publish(t, "cam1", "s", uint64(lost)+1)
		case event.Scene != nil:
			switch scenes++; scenes {
			case 1: // another for both, then the first is withdrawn
				f.set("view", "view-status")
				give("view-status")
				f.set("view-status")
			case 2: // the gateway's alone
				f.set("view-predict")
			case 3:
				if lost != 2 {
					t.Errorf("the connection was lost %d times, want 2", lost)
				}
				return
			}
		}
	}
	t.Errorf("ended after %d scenes, lost %d times", scenes, lost)
}
