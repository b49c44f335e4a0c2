package charts_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// externalSecret is as much of external-secrets.io's as the chart may use: its Go types come with a large module.
type externalSecret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		RefreshInterval string `json:"refreshInterval"`
		SecretStoreRef  struct {
			Name string `json:"name"`
			Kind string `json:"kind"`
		} `json:"secretStoreRef"`
		Target struct {
			Name           string `json:"name"`
			CreationPolicy string `json:"creationPolicy"`
		} `json:"target"`
		DataFrom []struct {
			Extract struct {
				Key string `json:"key"`
			} `json:"extract"`
		} `json:"dataFrom"`
	} `json:"spec"`
}

// DeepCopyObject makes it an object like others.
func (e *externalSecret) DeepCopyObject() runtime.Object {
	c := *e
	return &c
}

var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
		autoscalingv2.AddToScheme, monitoring.AddToScheme, keda.AddToScheme, gateway.Install,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	scheme.AddKnownTypeWithName(schema.GroupVersionKind{Group: "external-secrets.io", Version: "v1", Kind: "ExternalSecret"}, &externalSecret{})
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}()

func read(document string) (object, error) {
	raw, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil || string(raw) == "null" {
		return object{}, err
	}
	typed, kind, err := codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		return object{}, err
	}
	m, err := meta.Accessor(typed)
	if err != nil {
		return object{}, err
	}
	return object{text: string(raw), GroupVersionKind: *kind, name: m.GetName(), annotations: m.GetAnnotations(), typed: typed}, nil
}

// The types here are those that Helm is built with, which are newer than clusters are. What the chart renders must be
// known to the oldest Kubernetes that it says it runs on, too.
func TestOldestKubernetesKnowsEveryField(t *testing.T) {
	var all bytes.Buffer
	seen := map[string]bool{}
	for _, c := range cases {
		for _, o := range mustObjects(t, c) {
			if !strings.Contains(o.Group, ".") || strings.HasSuffix(o.Group, "networking.k8s.io") && o.Kind != "HTTPRoute" {
				if !seen[o.text] {
					seen[o.text] = true
					if err := json.Compact(&all, []byte(o.text)); err != nil {
						t.Fatal(err)
					}
					all.WriteByte('\n')
				}
			}
		}
	}
	command := exec.Command("go", "run", ".")
	command.Dir = "oldest"
	command.Stdin = &all
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Logf("%d objects: %s", len(seen), out)
	if !strings.HasPrefix(load(t).Metadata.KubeVersion, ">=1.30.") {
		t.Errorf("the chart says that it runs on Kubernetes %s: have oldest/go.mod say the same", load(t).Metadata.KubeVersion)
	}
}
