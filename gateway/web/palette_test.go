package web_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/spatial-flow/spatial-flow/client/label"
)

// The page and what is drawn elsewhere have the same colours of labels.
func TestPalette(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("colors.js")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`labelColors = \[(.*)\]`).FindSubmatch(text)
	if list == nil {
		t.Fatal("colors.js has no list labelColors")
	}
	words := regexp.MustCompile(`#[0-9a-f]{6}`).FindAllString(string(list[1]), -1)
	for i, word := range words {
		if c := label.Color(i); word != fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) {
			t.Errorf("colour %d of the page is %s, elsewhere %v", i, word, c)
		}
	}
	if label.Color(len(words)) != label.Color(0) || len(words) < 2 {
		t.Errorf("the page has %d colours, elsewhere there are others", len(words))
	}
}
