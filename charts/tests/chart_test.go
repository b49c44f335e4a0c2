// Package charts_test checks the chart without a cluster: it is rendered by Helm's own engine over a matrix of values,
// and what comes out is read as strictly as a cluster reads it.
package charts_test

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../spatial-flow"
	release   = "demo"
	namespace = "vision"
)

var loaded = sync.OnceValues(func() (*chart.Chart, error) { return loader.Load(chartDir) })

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cluster is what `lookup` finds.
type cluster []map[string]any

// emptyCluster has what every cluster has.
var emptyCluster = cluster{
	{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "kube-system"}},
	{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": "default", "namespace": namespace}},
}

// GetClientFor makes a cluster what Helm's engine asks.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	var objects []runtime.Object
	for _, object := range c {
		objects = append(objects, &unstructured.Unstructured{Object: object})
	}
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	resource := version.WithResource(strings.ToLower(kind) + "s")
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: kind + "List"}, objects...)
	return client.Resource(resource), kind != "Namespace", nil
}

// rendering is one `helm install` or `helm upgrade`.
type rendering struct {
	values  string // YAML over the chart's values
	preset  string // a file of the chart, below values
	cluster cluster
	upgrade bool
	release string   // its name; without: demo
	version string   // of Kubernetes; without: 1.34.4
	apis    []string // that the cluster has besides Kubernetes's own; nil: all that the chart can use
}

var allAPIs = []string{
	"monitoring.coreos.com/v1", "monitoring.coreos.com/v1/PodMonitor", "monitoring.coreos.com/v1/PrometheusRule",
	"keda.sh/v1alpha1", "keda.sh/v1alpha1/ScaledObject", "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1/HTTPRoute",
	"external-secrets.io/v1", "external-secrets.io/v1/ExternalSecret",
}

// base is what every rendering needs: image.registry has no default.
const base = "image: {registry: registry.example.org/team}\n"

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatalf("values %q: %v", text, err)
	}
	return values
}

// given are the values of a rendering as Helm merges them from files, in order.
func (r rendering) given(t *testing.T) map[string]any {
	t.Helper()
	values := parse(t, base)
	if r.preset != "" {
		preset, err := chartutil.ReadValuesFile(filepath.Join(chartDir, r.preset))
		if err != nil {
			t.Fatal(err)
		}
		values = chartutil.CoalesceTables(preset.AsMap(), values)
	}
	return chartutil.CoalesceTables(parse(t, r.values), values)
}

// render returns the files that Helm would send, by the templates' names.
func (r rendering) render(t *testing.T) (map[string]string, error) {
	t.Helper()
	c := load(t)
	version := r.version
	if version == "" {
		version = "v1.34.4"
	}
	kubeVersion, err := chartutil.ParseKubeVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	if !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, version) {
		return nil, fmt.Errorf("the chart is for Kubernetes %s", c.Metadata.KubeVersion)
	}
	apis := r.apis
	if apis == nil {
		apis = allAPIs
	}
	capabilities := &chartutil.Capabilities{
		KubeVersion: *kubeVersion, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
		APIVersions: append(slices.Clone(chartutil.DefaultVersionSet), apis...),
	}
	options := chartutil.ReleaseOptions{Name: cmp.Or(r.release, release), Namespace: namespace, Revision: 1, IsInstall: !r.upgrade, IsUpgrade: r.upgrade}
	values, err := chartutil.ToRenderValues(c, r.given(t), options, capabilities)
	if err != nil {
		return nil, err
	}
	if r.cluster == nil { // as `helm template`, which has none
		return engine.Render(c, values)
	}
	return engine.RenderWithClientProvider(c, values, r.cluster)
}

// object is one of what was rendered.
type object struct {
	template string
	text     string
	schema.GroupVersionKind
	name        string
	annotations map[string]string
	typed       runtime.Object
}

func (o object) String() string { return o.Kind + " " + o.name }

// of are the objects of a Go type.
func of[T any](objects []object) []T {
	var found []T
	for _, o := range objects {
		if typed, ok := o.typed.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// objects renders and reads: a key that comes twice, one that is not known, and a value of another type are errors.
func (r rendering) objects(t *testing.T) ([]object, error) {
	t.Helper()
	if r.cluster == nil {
		r.cluster = emptyCluster
	}
	files, err := r.render(t)
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(path, "NOTES.txt") {
			continue
		}
		documents := releaseutil.SplitManifests(files[path])
		for _, key := range slices.Sorted(maps.Keys(documents)) {
			o, err := read(documents[key])
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", path, err, documents[key])
			}
			if o.Kind == "" {
				continue // a comment alone
			}
			o.template = path
			objects = append(objects, o)
		}
	}
	return objects, nil
}
