package charts_test

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// selected are the workloads whose pods a selector finds.
func selected(t *testing.T, selector *metav1.LabelSelector, all []workload) []workload {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(slices.Clone(all), func(w workload) bool { return !s.Matches(labels.Set(w.meta.Labels)) })
}

// Who looks for pods finds them, and no others.
func TestSelectors(t *testing.T) {
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		all := workloads(objects)
		one := func(what string, selector *metav1.LabelSelector, name string) {
			if found := selected(t, selector, all); len(found) != 1 || found[0].name != name {
				t.Errorf("%s selects %v, want the pods of %s", what, found, name)
			}
		}
		for _, w := range all {
			if w.selector != nil {
				one(w.String(), w.selector, w.name)
			}
		}
		budgets := map[string]bool{}
		for _, b := range of[*policyv1.PodDisruptionBudget](objects) {
			one("the budget "+b.Name, b.Spec.Selector, b.Name)
			budgets[b.Name] = true
		}
		for _, w := range all { // a budget of what has one replica would only block the drain of its node
			least := w.replicas
			for _, s := range scalers(objects) {
				if s.target == w.name {
					least = s.least
				}
			}
			if want := least >= 2 && !w.ends && len(budgets) > 0; budgets[w.name] != want {
				t.Errorf("%s has %d replicas; a budget: %v", w, least, budgets[w.name])
			}
		}
		for _, s := range of[*corev1.Service](objects) {
			found := selected(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, all)
			if len(found) != 1 {
				t.Errorf("service %s leads to %v", s.Name, found)
			}
		}
		for _, p := range of[*networkingv1.NetworkPolicy](objects) {
			if len(selected(t, &p.Spec.PodSelector, all)) == 0 {
				t.Errorf("policy %s is about nobody", p.Name)
			}
		}
	})
}

// scaler is what sets the number of a workload's pods.
type scaler struct {
	name, target, kind string
	least              int32
}

func scalers(objects []object) []scaler {
	var found []scaler
	for _, h := range of[*autoscalingv2.HorizontalPodAutoscaler](objects) {
		found = append(found, scaler{name: h.Name, target: h.Spec.ScaleTargetRef.Name, kind: h.Spec.ScaleTargetRef.Kind, least: *h.Spec.MinReplicas})
	}
	for _, s := range of[*keda.ScaledObject](objects) {
		found = append(found, scaler{name: s.Name, target: s.Spec.ScaleTargetRef.Name, kind: s.Spec.ScaleTargetRef.Kind, least: *s.Spec.MinReplicaCount})
	}
	return found
}

// What is scaled exists, says no number of its own, and has one scaler.
func TestScalers(t *testing.T) {
	count := 0
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		scaled := map[string]bool{}
		for _, s := range scalers(objects) {
			count++
			if scaled[s.target] {
				t.Errorf("%s has two scalers", s.target)
			}
			scaled[s.target] = true
			i := slices.IndexFunc(of[*appsv1.Deployment](objects), func(d *appsv1.Deployment) bool { return d.Name == s.target })
			if i < 0 || s.kind != "Deployment" {
				t.Errorf("%s scales %s %s, which is not there", s.name, s.kind, s.target)
			} else if d := of[*appsv1.Deployment](objects)[i]; d.Spec.Replicas != nil {
				t.Errorf("%s has replicas of its own: each upgrade would fight its scaler", d.Name)
			}
		}
	})
	if count < 8 {
		t.Errorf("%d scalers in all cases", count)
	}
}

// triggers are the settings of KEDA's scalers that are used here: KEDA takes any, and fails later.
var triggers = map[string][]string{
	"nats-jetstream": {"natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold", "activationLagThreshold", "useHttps"},
	"prometheus":     {"serverAddress", "query", "threshold", "ignoreNullValues"},
}

func TestTriggers(t *testing.T) {
	count := 0
	forEach(t, func(t *testing.T, c matrixCase, objects []object) {
		for _, s := range of[*keda.ScaledObject](objects) {
			for _, trigger := range s.Spec.Triggers {
				count++
				got, want := slices.Sorted(maps.Keys(trigger.Metadata)), slices.Sorted(slices.Values(triggers[trigger.Type]))
				if !slices.Equal(got, want) || len(want) == 0 {
					t.Errorf("%s: trigger %s has %v, want %v", s.Name, trigger.Type, got, want)
				}
				for key, value := range trigger.Metadata {
					if number, err := strconv.ParseFloat(value, 64); strings.HasSuffix(strings.ToLower(key), "threshold") && (err != nil || number < 0) {
						t.Errorf("%s: %s is %q", s.Name, key, value)
					}
				}
				// No answer is taken for 0, which takes pods away, unless KEDA is told otherwise. Skips alone have none while all is well.
				if trigger.Type == "prometheus" && (trigger.Metadata["ignoreNullValues"] == "true") != strings.Contains(trigger.Metadata["query"], "skipped") {
					t.Errorf("%s: ignoreNullValues of %s", s.Name, trigger.Metadata["query"])
				}
				// Streams and consumers are named by flow/bus: FRAMES_<MODE> after the prefix, and the group.
				stream := "FRAMES_LOSSLESS"
				if strings.Contains(c.values, "prefix: blue") {
					stream = "blue_" + stream
				}
				if trigger.Type == "nats-jetstream" && (trigger.Metadata["stream"] != stream || trigger.Metadata["account"] != "$G" ||
					!strings.HasSuffix(s.Name, "-worker-"+trigger.Metadata["consumer"])) {
					t.Errorf("%s looks at consumer %s of %s", s.Name, trigger.Metadata["consumer"], trigger.Metadata["stream"])
				}
			}
		}
	})
	if count < 8 {
		t.Errorf("%d triggers in all cases", count)
	}
}

// port finds a container's port by name or number.
func port(w workload, wanted intstr.IntOrString) (int32, bool) {
	for _, c := range w.spec.Containers {
		for _, p := range c.Ports {
			if wanted.Type == intstr.String && p.Name == wanted.StrVal || wanted.Type == intstr.Int && p.ContainerPort == wanted.IntVal {
				return p.ContainerPort, true
			}
		}
	}
	return 0, false
}

// Every port that is named, or called, is there.
func TestPorts(t *testing.T) {
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		all := workloads(objects)
		for _, w := range all {
			names := map[string]bool{}
			for _, c := range w.spec.Containers {
				for _, p := range c.Ports {
					if names[p.Name] || p.Name == "" || len(p.Name) > 15 {
						t.Errorf("%s: port %q comes twice, or is no name", w, p.Name)
					}
					names[p.Name] = true
				}
				for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
					if probe == nil {
						continue
					}
					var wanted intstr.IntOrString
					if probe.HTTPGet != nil {
						wanted = probe.HTTPGet.Port
					} else {
						wanted = probe.TCPSocket.Port
					}
					own := workload{spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
					if _, ok := port(own, wanted); !ok {
						t.Errorf("%s: %s is probed at port %s, which it has not", w, c.Name, wanted.String())
					}
				}
			}
		}
		services := map[string]*corev1.Service{}
		for _, s := range of[*corev1.Service](objects) {
			services[s.Name] = s
			for _, w := range selected(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, all) {
				for _, p := range s.Spec.Ports {
					if _, ok := port(w, p.TargetPort); !ok {
						t.Errorf("service %s: %s has no port %s", s.Name, w, p.TargetPort.String())
					}
				}
			}
		}
		for _, s := range of[*appsv1.StatefulSet](objects) {
			if headless := services[s.Spec.ServiceName]; headless == nil || headless.Spec.ClusterIP != corev1.ClusterIPNone {
				t.Errorf("%s: its service %s is not there, or not headless", s.Name, s.Spec.ServiceName)
			}
		}
		called(t, objects, services)
	})
}

// called checks who calls services: routes, and the programs by their variables and arguments.
func called(t *testing.T, objects []object, services map[string]*corev1.Service) {
	t.Helper()
	known := func(name string, port intstr.IntOrString) bool {
		s := services[strings.Split(name, ".")[0]]
		return s != nil && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
			return port.Type == intstr.String && p.Name == port.StrVal || port.Type == intstr.Int && p.Port == port.IntVal
		})
	}
	for _, i := range of[*networkingv1.Ingress](objects) {
		for _, rule := range i.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				b := path.Backend.Service
				wanted := intstr.FromInt32(b.Port.Number)
				if b.Port.Name != "" {
					wanted = intstr.FromString(b.Port.Name)
				}
				if !known(b.Name, wanted) {
					t.Errorf("ingress %s leads to %s:%s, which is not there", i.Name, b.Name, wanted.String())
				}
			}
		}
	}
	for _, r := range of[*gateway.HTTPRoute](objects) {
		for _, rule := range r.Spec.Rules {
			for _, b := range rule.BackendRefs {
				if !known(string(b.Name), intstr.FromInt32(int32(*b.Port))) {
					t.Errorf("route %s leads to %s:%d, which is not there", r.Name, b.Name, *b.Port)
				}
			}
		}
	}
	own := len(of[*appsv1.StatefulSet](objects)) > 0 // NATS
	calls := 0
	for _, w := range workloads(objects) {
		for _, c := range w.spec.Containers {
			for _, where := range addresses(c) {
				calls++
				u, err := url.Parse(where)
				if err != nil {
					t.Fatal(err)
				}
				number, _ := strconv.Atoi(u.Port())
				if host := u.Hostname(); net.ParseIP(host) == nil && (u.Scheme != "nats" || own) && !known(host, intstr.FromInt(number)) {
					t.Errorf("%s: %s calls %s, which is not there", w, c.Name, where)
				}
			}
		}
	}
	if calls < 4 {
		t.Errorf("%d calls are found", calls)
	}
	for _, s := range of[*keda.ScaledObject](objects) {
		for _, trigger := range s.Spec.Triggers {
			if host, number, err := net.SplitHostPort(trigger.Metadata["natsServerMonitoringEndpoint"]); err == nil && own {
				n, _ := strconv.Atoi(number)
				if !known(host, intstr.FromInt(n)) || !strings.HasPrefix(host, fmt.Sprintf("%s.%s.svc.", strings.Split(host, ".")[0], namespace)) {
					t.Errorf("%s looks at %s:%s, which is not there", s.Name, host, number)
				}
			}
		}
	}
}

// addresses are the URLs of services that a container is told to call.
func addresses(c corev1.Container) []string {
	var found []string
	for _, e := range c.Env {
		if e.Name == "SPATIALFLOW_NATS" {
			found = append(found, strings.Split(e.Value, ",")...)
		}
	}
	for _, a := range c.Args {
		if where, ok := strings.CutPrefix(a, "--gateway="); ok {
			found = append(found, where)
		}
	}
	return found
}

// The PodMonitor scrapes every pod that exports metrics, at a port it has.
func TestMonitors(t *testing.T) {
	count := 0
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		for _, m := range of[*monitoring.PodMonitor](objects) {
			scraped := map[string]bool{}
			for _, endpoint := range m.Spec.PodMetricsEndpoints {
				count++
				for _, w := range selected(t, &m.Spec.Selector, workloads(objects)) {
					if _, ok := port(w, intstr.FromString(*endpoint.Port)); ok {
						scraped[w.name] = true
					}
				}
			}
			for _, w := range workloads(objects) {
				for _, name := range []string{"admin", "exporter"} {
					if _, ok := port(w, intstr.FromString(name)); ok && !scraped[w.name] {
						t.Errorf("%s has metrics that nobody scrapes", w)
					}
				}
			}
		}
	})
	if count < 3 {
		t.Errorf("%d endpoints in all cases", count)
	}
}

// Whatever a pod refers to is in the chart, or among what the case says is there already.
func TestReferences(t *testing.T) {
	forEach(t, func(t *testing.T, c matrixCase, objects []object) {
		there := map[string]bool{"ServiceAccount default": true}
		for _, o := range objects {
			there[o.String()] = true
			if o.Kind == "ExternalSecret" {
				there["Secret "+o.typed.(*externalSecret).Spec.Target.Name] = true
			}
		}
		used := map[string]bool{}
		for _, outside := range c.outside {
			there[outside], used[outside] = true, false
		}
		refer := func(from fmt.Stringer, kind, name string) {
			if !there[kind+" "+name] {
				t.Errorf("%s refers to %s %s, which is not there", from, kind, name)
			}
			used[kind+" "+name] = true
		}
		for _, w := range workloads(objects) {
			refer(w, "ServiceAccount", w.spec.ServiceAccountName)
			for _, s := range w.spec.ImagePullSecrets {
				refer(w, "Secret", s.Name)
			}
			for _, v := range w.spec.Volumes {
				switch {
				case v.Secret != nil:
					refer(w, "Secret", v.Secret.SecretName)
				case v.ConfigMap != nil:
					refer(w, "ConfigMap", v.ConfigMap.Name)
				case v.PersistentVolumeClaim != nil:
					refer(w, "PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName)
				}
			}
			for _, container := range w.all() {
				for _, e := range container.Env {
					if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
						refer(w, "Secret", e.ValueFrom.SecretKeyRef.Name)
					}
				}
			}
		}
		for _, i := range of[*networkingv1.Ingress](objects) {
			for _, tls := range i.Spec.TLS {
				used["Secret "+tls.SecretName] = true
			}
		}
		for name, asked := range used {
			if !asked {
				t.Errorf("nothing refers to %s", name)
			}
		}
	})
}
