package charts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spatial-flow/spatial-flow/charts/tests/metrics"
)

func file(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The chart's appVersion is the version of the project; whoever names images names it.
func TestImages(t *testing.T) {
	version := load(t).Metadata.AppVersion
	if version == "" || load(t).Metadata.Version == "" {
		t.Fatalf("appVersion %q", version)
	}
	nats := regexp.MustCompile(`nats:\d+\.\d+\.\d+-alpine`).FindString(file(t, "docker-compose.yml"))
	forEach(t, func(t *testing.T, c matrixCase, objects []object) {
		for _, w := range workloads(objects) {
			for _, container := range w.all() {
				name, tag, _ := strings.Cut(container.Image[strings.LastIndex(container.Image, "/")+1:], ":")
				switch {
				case strings.Contains(container.Image, "@sha256:"):
					if !strings.Contains(c.values, "digests") {
						t.Errorf("%s: %s", w, container.Image)
					}
				case strings.HasPrefix(name, "spatial-flow-"):
					if registry := c.given(t)["image"].(map[string]any)["registry"].(string); !strings.HasPrefix(container.Image, registry+"/") {
						t.Errorf("%s: %s is not of %s", w, container.Image, registry)
					}
					if tag != version {
						t.Errorf("%s: %s, want version %s", w, container.Image, version)
					}
				case name == "nats":
					if container.Image != nats {
						t.Errorf("%s: %s, and docker-compose.yml has %q", w, container.Image, nats)
					}
				case tag == "" || tag == "latest":
					t.Errorf("%s: %s may be another image tomorrow", w, container.Image)
				}
			}
		}
	})
	compose := file(t, "docker-compose.yml")
	for _, named := range regexp.MustCompile(`\$\{VERSION:-([^}]*)\}`).FindAllStringSubmatch(compose, -1) {
		if named[1] != version {
			t.Errorf("docker-compose.yml has version %s, the chart %s", named[1], version)
		}
	}
	if !strings.Contains(compose, "${VERSION:-") {
		t.Error("docker-compose.yml names no version")
	}
	// What Artifact Hub says of the chart's images is what the chart runs.
	if listed := load(t).Metadata.Annotations["artifacthub.io/images"]; listed != "" && !strings.Contains(listed, nats) {
		t.Errorf("Chart.yaml lists other images than %s:\n%s", nats, listed)
	}
}

func TestReadmeIsMadeOfValues(t *testing.T) {
	out, err := exec.Command("go", "run", "./cmd/readme", "--check", chartDir).CombinedOutput()
	if err != nil {
		t.Errorf("%v (make chart-readme)\n%s", err, out)
	}
}

// Every preset that the README lists is there, and the other way round.
func TestReadmeListsThePresets(t *testing.T) {
	readme := file(t, "charts/spatial-flow/README.md")
	presets, err := filepath.Glob(filepath.Join(chartDir, "values-*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, preset := range presets {
		if !strings.Contains(readme, "("+filepath.Base(preset)+")") {
			t.Errorf("README.md does not list %s", preset)
		}
	}
}

// Scalers and rules ask for metrics that the programs export, and of this release alone.
func TestQueries(t *testing.T) {
	exported, err := metrics.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := exported.Others(); err != nil {
		t.Fatal(err)
	}
	queries, rules := 0, 0
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		for _, s := range of[*keda.ScaledObject](objects) {
			for _, trigger := range s.Spec.Triggers {
				if trigger.Type != "prometheus" {
					continue
				}
				queries++
				query := trigger.Metadata["query"]
				if _, err := exported.Check(query); err != nil {
					t.Errorf("%s: %v", s.Name, err)
				}
				// Each series must be of this release: its namespace, and pods that it has.
				for _, series := range regexp.MustCompile(`spatialflow_\w+\{[^}]*\}`).FindAllString(query, -1) {
					if !strings.Contains(series, `namespace="`+namespace+`"`) || !strings.Contains(series, `pod=~"demo-spatial-flow-`) {
						t.Errorf("%s scales by others' load too: %s", s.Name, series)
					}
				}
			}
		}
		for _, r := range of[*monitoring.PrometheusRule](objects) {
			for _, group := range r.Spec.Groups {
				for _, rule := range group.Rules {
					rules++
					if _, err := exported.Check(rule.Expr.String()); err != nil {
						t.Errorf("%s: %v", rule.Alert, err)
					}
					if !strings.Contains(rule.Annotations["action"], " ") || strings.Contains(rule.Annotations["summary"], "<no value>") {
						t.Errorf("%s has lost its annotations: %v", rule.Alert, rule.Annotations)
					}
				}
			}
		}
		for _, m := range of[*corev1.ConfigMap](objects) {
			for name, text := range m.Data {
				if strings.HasSuffix(name, ".json") && strings.TrimSpace(text) != strings.TrimSpace(file(t, "charts/spatial-flow/files/dashboards/"+name)) {
					t.Errorf("%s: %s is not the file", m.Name, name)
				}
			}
		}
	})
	if queries < 4 || rules < 15 {
		t.Errorf("%d queries of scalers and %d rules in all cases", queries, rules)
	}
}
