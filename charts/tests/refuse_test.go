package charts_test

import (
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// refusals are values that are wrong, and what is said of them: where, and what would be right.
var refusals = map[string]struct {
	values string
	want   []string
}{
	"a key that is not known":               {"gatway: {replicas: 2}", []string{"gatway", "not allowed"}},
	"a key that is not known, deeper":       {"nats: {storage: {siez: 1Gi}}", []string{"/nats/storage", "siez"}},
	"a key of a group":                      {"workers: {detect: {replica: 2}}", []string{"/workers/detect", "replica"}},
	"a key of a producer":                   {"producers: {street: {source: [x]}}", []string{"/producers/street", "source"}},
	"a prefix with a dot":                   {"nats: {prefix: a.b}", []string{"/nats/prefix"}},
	"two NATS servers":                      {"nats: {replicas: 2}", []string{"/nats/replicas", "1", "3"}},
	"a number in words":                     {"gateway: {replicas: two}", []string{"/gateway/replicas", "integer"}},
	"less than no pods":                     {"fuser: {replicas: -1}", []string{"/fuser/replicas", "0"}},
	"a switch in quotes":                    {`ingest: {enabled: "yes"}`, []string{"/ingest/enabled", "boolean"}},
	"a level of another program":            {"log: {level: verbose}", []string{"/log/level", "debug", "info"}},
	"a provider that is none":               {"workers: {detect: {provider: gpu}}", []string{"/workers/detect/provider", "cuda"}},
	"a size with a letter too many":         {"nats: {storage: {size: 20GiB}}", []string{"/nats/storage/size", "20GiB"}},
	"a time without a unit":                 {`provision: {timeout: "60"}`, []string{"/provision/timeout", "60"}},
	"a digest that is cut":                  {"image: {digests: {static: 'sha256:abc'}}", []string{"/image/digests/static", "sha256"}},
	"a port beyond all":                     {"gateway: {service: {port: 80000}}", []string{"/gateway/service/port", "65,535"}},
	"a type of service that is none":        {"gateway: {service: {type: External}}", []string{"/gateway/service/type", "LoadBalancer"}},
	"a network without its length":          {"networkPolicy: {cameras: {cidrs: [10.0.0.0]}}", []string{"/networkPolicy/cameras/cidrs/0", "10.0.0.0"}},
	"a group that is not named":             {"workers: {pose: {task: detect}}", []string{"workers.pose", "groups"}},
	"a group's name that is no name":        {"workers: {Pose: {task: detect}}", []string{"/workers", "Pose"}},
	"a group of no task":                    {"groups: [{name: detect, slot: 1}, {name: depth, slot: 2, task: depth}]", []string{"/groups/0", "task"}},
	"a group twice":                         {"groups: [{name: detect, slot: 1, task: detect}, {name: depth, slot: 2, task: depth}, {name: depth, slot: 3, task: depth}]", []string{"groups", "depth", "twice"}},
	"a slot twice":                          {"groups: [{name: detect, slot: 1, task: detect}, {name: depth, slot: 1, task: depth}]", []string{"detect and depth have slot 1"}},
	"workers of no group":                   {"groups: [{name: detect, slot: 1, task: detect}]", []string{"workers.depth", "groups"}},
	"too many partitions":                   {"provision: {partitions: 65}", []string{"/provision/partitions", "64"}},
	"streams without room":                  {"nats: {storage: {size: 10Gi}}", []string{"nats.storage.size 10Gi", "4 × provision.guardBytes (2Gi)", "3 × provision.liveResultBytes (256Mi)", "9538 MiB"}},
	"one group too many for the room":       {"{nats: {storage: {size: 12Gi}}, groups: [{name: detect, slot: 1, task: detect}, {name: depth, slot: 2, task: depth}, {name: pose, slot: 3, task: other}]}", []string{"nats.storage.size 12Gi", "5 × provision.guardBytes"}},
	"live streams without memory":           {"provision: {liveStorage: memory}", []string{"nats.memoryStore 256Mi", "1280 MiB"}},
	"more live copies than others":          {"provision: {liveReplicas: 3}", []string{"provision.liveReplicas 3", "1 replicas"}},
	"resources without memory":              {"fuser: {resources: {limits: {memory: null}}}", []string{"/fuser/resources/limits", "memory"}},
	"a share above one":                     {"workers: {detect: {autoscaling: {live: {busy: 70}}}}", []string{"/workers/detect/autoscaling/live/busy", "1"}},
	"a path of the host":                    {"producers: {film: {sources: [/f/a.mp4], volumes: [{name: f, hostPath: {path: /f}}]}}", []string{"/producers/film/volumes/0", "hostPath"}},
	"a producer's name that is no name":     {"producers: {Yard_1: {sources: ['street:']}}", []string{"/producers", "Yard_1"}},
	"too little time to end":                {"terminationGracePeriodSeconds: 10", []string{"/terminationGracePeriodSeconds", "45"}},
	"an origin as a URL":                    {"gateway: {origins: ['https://a.example.org']}", []string{"/gateway/origins/0"}},
	"a host as a URL":                       {"gateway: {hosts: ['http://a.example.org:8000']}", []string{"/gateway/hosts/0"}},
	"a model of no kind":                    {"workers: {detect: {model: {kind: s3}}}", []string{"/workers/detect/model/kind", "pvc", "url"}},
	"no registry":                           {"image: {registry: ''}", []string{"image.registry is empty", "make images push"}},
	"two NATS":                              {"nats: {url: 'nats://x:4222'}", []string{"nats.url", "nats.enabled=false"}},
	"no NATS":                               {"nats: {enabled: false}", []string{"nats.enabled=false asks for nats.url"}},
	"another's NATS without passwords":      {"nats: {enabled: false, url: 'nats://x:4222'}", []string{"nats.auth.existingSecret", "publisher"}},
	"an outsider like a service":            {"nats: {readers: {gateway: ['*']}}", []string{"gateway and gateway are too much alike"}},
	"a group like an outsider":              {"{nats: {publishers: {depth: [cam1]}}}", []string{"nats.publishers", "depth"}},
	"a pattern of sources at NATS":          {"nats: {readers: {wall: ['cam*']}}", []string{"/nats/readers/wall/0"}},
	"nobody's sources":                      {"nats: {readers: {wall: []}}", []string{"/nats/readers/wall"}},
	"anonymous managers":                    {"gateway: {anonymous: [manage]}", []string{"/gateway/anonymous/0"}},
	"a base path that is none":              {"gateway: {basePath: viewer/}", []string{"/gateway/basePath"}},
	"two places of passwords":               {"nats: {auth: {existingSecret: a, externalSecret: {enabled: true, storeName: s, remoteKey: k}}}", []string{"not both"}},
	"a store without a name":                {"nats: {auth: {externalSecret: {enabled: true}}}", []string{"storeName"}},
	"a camera's password":                   {"producers: {yard: {sources: ['rtsp://user:secret@10.0.0.7/a']}}", []string{"producers.yard.sourcesSecret", "credentials"}},
	"a camera's password with a slash":      {"producers: {yard: {sources: ['rtsp://user:a/secret@10.0.0.7/a']}}", []string{"producers.yard.sourcesSecret", "credentials", "rtsp://…@10.0.0.7/a"}},
	"a camera's password of an argument":    {"producers: {yard: {sources: ['street:'], args: ['--source=gate=rtsp://user:secret@10.0.0.7/a']}}", []string{"producers.yard.sourcesSecret", "credentials"}},
	"a camera's password after its flag":    {"producers: {yard: {sources: ['street:'], args: [--source, 'rtsp://user:secret@10.0.0.7/a#fps=1']}}", []string{"producers.yard.sourcesSecret", "credentials"}},
	"a camera's password of the defaults":   {"{producerDefaults: {args: [--source, 'rtsp://user:secret@10.0.0.7/a']}, producers: {yard: {sources: ['street:']}}}", []string{"producers.yard.sourcesSecret", "credentials"}},
	"a camera's password in a variable":     {"producers: {yard: {sources: ['street:'], env: [{name: SPATIALFLOW_SOURCE, value: 'rtsp://user:secret@10.0.0.7/a'}]}}", []string{"producers.yard.sourcesSecret", "credentials"}},
	"a model's password":                    {"workers: {detect: {model: {kind: url, url: 'https://u:secret@h/a.onnx', sha256: " + digest + "}}}", []string{"workers.detect.model.url", "credentials"}},
	"a Job without a run":                   {"producers: {film: {kind: Job, sources: [/f/a.mp4]}}", []string{"producers.film.run"}},
	"a producer of nothing":                 {"producers: {yard: {}}", []string{"producers.yard", "sources"}},
	"nobody to look":                        {"workerDefaults: {enabled: false}", []string{"no group of workers is enabled"}},
	"a GPU for the CPU":                     {"workers: {depth: {gpu: {enabled: true}}}", []string{"workers.depth.provider", "cuda"}},
	"CUDA without a GPU":                    {"workers: {depth: {provider: cuda}}", []string{"workers.depth.gpu.enabled"}},
	"less than least":                       {"workers: {depth: {autoscaling: {type: hpa, min: 5, max: 2}}}", []string{"workers.depth.autoscaling.min 5", "2"}},
	"nothing that would bring the first":    {"workers: {depth: {autoscaling: {type: hpa, min: 0}}}", []string{"workers.depth.autoscaling.min 0"}},
	"a GPU scaled by its CPU":               {"workers: {depth: {provider: cuda, gpu: {enabled: true}, autoscaling: {type: hpa}}}", []string{"workers.depth.autoscaling.type hpa", "keda"}},
	"live load without Prometheus":          {"workers: {depth: {autoscaling: {type: keda, live: {enabled: true}}}}", []string{"keda.prometheus.address"}},
	"a lag that a pod holds":                {"workers: {depth: {parallel: 8, autoscaling: {type: keda}}}", []string{"workers.depth.autoscaling.lossless.lag 8", "8 frames"}},
	"lag of another's NATS":                 {"{nats: {enabled: false, url: 'nats://x', auth: {existingSecret: p}}, workers: {depth: {autoscaling: {type: keda}}}}", []string{"nats.monitoring"}},
	"a claim without a file":                {"workers: {depth: {model: {kind: pvc, claim: models}}}", []string{"workers.depth.model", "model.file"}},
	"a model by URL without its checksum":   {"workers: {depth: {model: {kind: url, url: 'https://h/a.onnx'}}}", []string{"workers.depth.model", "sha256"}},
	"certificates for no host":              {"ingress: {enabled: true, tls: [{secretName: a, hosts: [b]}]}", []string{"ingress.hosts"}},
	"a route of no gateway":                 {"httpRoute: {enabled: true}", []string{"httpRoute.parentRefs"}},
	"metrics that nobody may read":          {"{metrics: {podMonitor: {enabled: true}}, networkPolicy: {monitoringNamespaces: []}}", []string{"networkPolicy.monitoringNamespaces"}},
	"a label of the chart's own":            {"pod: {labels: {app.kubernetes.io/component: a}}", []string{"pod.labels: app.kubernetes.io/component is the chart's own"}},
	"the chart's version as a label":        {"metrics: {podMonitor: {labels: {helm.sh/chart: a}}}", []string{"metrics.podMonitor.labels: helm.sh/chart"}},
	"a Service whose name is a number":      {"fullnameOverride: '2024'", []string{"2024", "begin with a letter", "fullnameOverride"}},
	"a Service whose name has a dot":        {"fullnameOverride: a.b", []string{"a.b", "no dot", "fullnameOverride"}},
	"a gateway that waits and is killed":    {"{terminationGracePeriodSeconds: 45, gateway: {preStopSeconds: 30}}", []string{"terminationGracePeriodSeconds 45", "gateway.preStopSeconds 30", "at least 50"}},
	"a task that the program does not know": {"workers: {detect: {task: depth}}", []string{"workers.detect.task"}},
}

func TestRefuses(t *testing.T) {
	for name, r := range refusals {
		t.Run(name, func(t *testing.T) {
			_, err := rendering{values: r.values, cluster: emptyCluster}.render(t)
			if err == nil {
				t.Fatalf("%s is not refused", r.values)
			}
			for _, want := range r.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "nil pointer") || strings.Contains(err.Error(), "wrong type for value") {
				t.Errorf("the message tells a password, or a mistake of the template:\n%v", err)
			}
		})
	}
}

// What the cluster does not have is refused by name, not by the cluster.
func TestRefusesWhatTheClusterLacks(t *testing.T) {
	for values, want := range map[string]string{
		"metrics: {podMonitor: {enabled: true}}":                                      "metrics.podMonitor.enabled asks for PodMonitor of monitoring.coreos.com/v1",
		"metrics: {prometheusRule: {enabled: true}}":                                  "metrics.prometheusRule.enabled asks for PrometheusRule",
		"httpRoute: {enabled: true, parentRefs: [{name: a}]}":                         "httpRoute.enabled asks for HTTPRoute",
		"workers: {depth: {autoscaling: {type: keda}}}":                               "workers.depth.autoscaling.type keda asks for ScaledObject",
		"nats: {auth: {externalSecret: {enabled: true, storeName: s, remoteKey: k}}}": "nats.auth.externalSecret.enabled asks for ExternalSecret",
	} {
		_, err := rendering{values: values, apis: []string{}, cluster: emptyCluster}.render(t)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", values, err, want)
		}
	}
	if _, err := (rendering{version: "v1.29.9", cluster: emptyCluster}).render(t); err == nil || !strings.Contains(err.Error(), ">=1.30") {
		t.Errorf("Kubernetes 1.29: %v", err)
	}
}

// free are values whose keys are people's own, or of Kubernetes.
var free = []string{"annotations", "labels", "podLabels", "nodeSelector", "affinity", "nodeAffinity", "matchLabels", "producers"}

// In every map of values.yaml a misspelled key is refused, and so is a value of another type under every key.
func TestSchemaKnowsEveryValue(t *testing.T) {
	log.SetOutput(io.Discard) // Helm warns of each
	defer log.SetOutput(os.Stderr)
	defaults := map[string]any{}
	raw, err := yaml.Marshal(load(t).Values)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &defaults); err != nil {
		t.Fatal(err)
	}
	tried := 0
	refused := func(path []string, value any) {
		tried++
		for i := len(path) - 1; i >= 0; i-- {
			value = map[string]any{path[i]: value}
		}
		text, err := yaml.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (rendering{values: string(text), cluster: emptyCluster}).render(t); err == nil || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s is not refused by the schema: %v", strings.TrimSpace(string(text)), err)
		}
	}
	var walk func(path []string, value any)
	walk = func(path []string, value any) {
		if len(path) > 0 && slices.Contains(free, path[len(path)-1]) {
			refused(path, "no map")
			return
		}
		switch v := value.(type) {
		case map[string]any:
			refused(append(slices.Clone(path), "tpyo"), "x")
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(append(slices.Clone(path), key), v[key])
			}
		case []any, bool, float64, int64:
			refused(path, map[string]any{"not": "this"})
		case string:
			refused(path, []any{map[string]any{"not": "this"}})
		}
	}
	walk(nil, defaults)
	if tried < 200 {
		t.Errorf("%d values are tried", tried)
	}
}
