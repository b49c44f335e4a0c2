package metrics_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const files = root + "/charts/spatial-flow/files"

// panel is as much of a panel as is looked at here; that the rest is as Grafana wants it, its own types say.
type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  *struct{ Type, UID string }
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
	Options struct {
		YAxis struct{ Unit string }
	}
	Targets []struct {
		RefID, Expr string
		Datasource  *struct{ UID string }
	}
}

type board struct {
	UID           string
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

func boards(t *testing.T) map[string]board {
	t.Helper()
	paths, err := filepath.Glob(files + "/dashboards/*.json")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d dashboards, %v", len(paths), err)
	}
	plugins.RegisterDefaultPlugins()
	found := map[string]board{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Without a mistake it returns an error too, one that says nothing.
		//lint:ignore SA1019 the newer schema is not yet what Grafana's sidecar and file provisioning want everywhere
		if err := new(dashboard.Dashboard).UnmarshalJSONStrict(content); err != nil && err.Error() != "" {
			t.Errorf("%s is not as Grafana's own types want it: %v", path, err)
		}
		var b board
		if err := json.Unmarshal(content, &b); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		found[filepath.Base(path)] = b
	}
	return found
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

func TestDashboards(t *testing.T) {
	e, uids := read(t), map[string]string{}
	for name, b := range boards(t) {
		if !strings.HasPrefix(b.UID, "spatial-flow-") || uids[b.UID] != "" || b.Title == "" || b.SchemaVersion < 39 {
			t.Errorf("%s: uid %q (also %q), title %q, schema %d", name, b.UID, uids[b.UID], b.Title, b.SchemaVersion)
		}
		uids[b.UID] = name
		variables := map[string]bool{"__rate_interval": true}
		for _, v := range b.Templating.List {
			variables[v.Name] = true
			if v.Type != "query" {
				continue
			}
			parts := labelValues.FindStringSubmatch(v.Definition)
			if parts == nil {
				t.Errorf("%s: variable %s asks for %q", name, v.Name, v.Definition)
				continue
			}
			series := parts[1]
			if strings.Contains(series, "_total") {
				series = "rate(" + series + "[1m])"
			}
			if _, err := e.Check(fmt.Sprintf("count by (%s) (%s)", parts[2], series)); err != nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, err)
			}
		}
		if b.Templating.List[0].Name != "datasource" {
			t.Errorf("%s has no variable for the data source", name)
		}
		row, ids := "", map[int]bool{}
		for i, p := range b.Panels {
			at := fmt.Sprintf("%s: %s", name, p.Title)
			if ids[p.ID] || p.Title == "" {
				t.Errorf("%s: id %d comes twice, or no title", at, p.ID)
			}
			ids[p.ID] = true
			for _, other := range b.Panels[:i] {
				if p.GridPos.X < other.GridPos.X+other.GridPos.W && other.GridPos.X < p.GridPos.X+p.GridPos.W &&
					p.GridPos.Y < other.GridPos.Y+other.GridPos.H && other.GridPos.Y < p.GridPos.Y+p.GridPos.H || p.GridPos.X+p.GridPos.W > 24 {
					t.Errorf("%s overlaps %s, or is too wide", at, other.Title)
				}
			}
			if p.Type == "row" {
				row = p.Title
				continue
			}
			checkPanel(t, at, p, row, variables)
		}
	}
}

var variable = regexp.MustCompile(`\$\{?(\w+)`)

func checkPanel(t *testing.T, at string, p panel, row string, variables map[string]bool) {
	t.Helper()
	if p.Datasource == nil || p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
		t.Errorf("%s does not use the variable for its data source", at)
	}
	if p.FieldConfig.Defaults.Unit == "" && p.Options.YAxis.Unit == "" {
		t.Errorf("%s has no unit", at)
	}
	if len(p.Targets) == 0 {
		t.Errorf("%s asks for nothing", at)
	}
	foreign := false
	for _, target := range p.Targets {
		for _, used := range variable.FindAllStringSubmatch(target.Expr, -1) {
			if !variables[used[1]] {
				t.Errorf("%s: there is no variable %s", at, used[1])
			}
		}
		query, err := read(t).Check(strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
		if err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if !query.Foreign && !strings.Contains(target.Expr, `namespace=~"$namespace"`) {
			t.Errorf("%s: %s asks every namespace", at, target.Expr)
		}
		foreign = foreign || query.Foreign
	}
	marked := strings.Contains(row, "needs ") && strings.Contains(p.Description, "empty without it")
	if foreign != marked {
		t.Errorf("%s uses an exporter's metrics: %v; its row and description say so: %v", at, foreign, marked)
	}
}
