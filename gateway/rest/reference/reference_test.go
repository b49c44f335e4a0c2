package reference_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/gateway/rest/reference"
)

// The page has every path, links lead to places that it has, and nothing of it is a script or a style that the page's policy refuses.
func TestPage(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := reference.Page(document)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	paths := regexp.MustCompile(`(?m)^  (/\S+):$`).FindAllStringSubmatch(string(document), -1)
	if len(paths) < 4 {
		t.Fatalf("openapi.yaml has the paths %v", paths)
	}
	for _, path := range paths {
		if !strings.Contains(text, "<code>"+path[1]+"</code></h2>") {
			t.Errorf("the page lacks %s", path[1])
		}
	}
	if strings.Count(text, "<td><code>source</code></td><td>path</td>") < 4 {
		t.Error("parameters of a path are missing")
	}
	for _, link := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, `id="`+link[1]+`"`) {
			t.Errorf("a link leads to #%s, which is not there", link[1])
		}
	}
	for _, refused := range []string{"<script", "style=", "<style", `="http`, `="//`, "onclick"} {
		if strings.Contains(text, refused) {
			t.Errorf("the page has %s", refused)
		}
	}
}

func TestPageRefuses(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"no YAML":        "\t",
		"no mapping":     "paths: []",
		"nothing behind": `paths: {/x: {get: {responses: {"200": {$ref: "#/components/responses/None"}}}}}`,
	} {
		if _, err := reference.Page([]byte(document)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	page, err := reference.Page([]byte(`paths: {/x: {get: {summary: "<script>alert(1)</script>", responses: {"200": {description: "<b>", content: {"a<b": {schema: {type: "<i>", enum: ["<u>"]}}}}}}}}`))
	if err != nil || strings.Contains(string(page), "<script>") || strings.Contains(string(page), "<i>") || strings.Contains(string(page), "<u>") {
		t.Errorf("what is in the document is not escaped: %s, %v", page, err)
	}
}
