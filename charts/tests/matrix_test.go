package charts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/util/validation"
)

// matrixCase is a deployment that people may want. What it names outside of the chart is in outside.
type matrixCase struct {
	name string
	rendering
	outside []string // Secret, PersistentVolumeClaim and ServiceAccount that exist already, as "Secret passwords"
}

var cases = []matrixCase{
	{name: "defaults"},
	{name: "cpu", rendering: rendering{preset: "values-cpu.yaml"}},
	{name: "kind", rendering: rendering{preset: "values-kind.yaml"}},
	{name: "eks-t4-shared", rendering: rendering{preset: "values-eks-t4-shared.yaml"}, outside: []string{"PersistentVolumeClaim models"}},
	{name: "eks-karpenter", rendering: rendering{preset: "values-eks-karpenter.yaml"}},
	{name: "three servers", rendering: rendering{values: `
nats: {replicas: 3, exporter: {enabled: true}, storage: {className: fast, size: 100Gi, whenDeleted: Delete}}
metrics: {podMonitor: {enabled: true, labels: {release: prometheus}}}`}},
	{name: "passwords that exist", rendering: rendering{values: `
nats: {auth: {existingSecret: passwords}}`}, outside: []string{"Secret passwords"}},
	{name: "passwords of a store", rendering: rendering{values: `
nats: {replicas: 3, auth: {externalSecret: {enabled: true, storeName: vault, storeKind: SecretStore, remoteKey: team/nats}}}`}},
	{name: "another's NATS", rendering: rendering{values: `
nats: {enabled: false, url: "nats://a.messaging:4222,nats://b.messaging:4223", monitoring: "nats-headless.messaging:8222", auth: {existingSecret: passwords}}
workers: {depth: {autoscaling: {type: keda}}}
networkPolicy: {nats: {cidrs: [10.1.0.0/16]}}`}, outside: []string{"Secret passwords"}},
	{name: "another's NATS, passwords of a store", rendering: rendering{values: `
nats: {enabled: false, url: "nats://nats.messaging", auth: {externalSecret: {enabled: true, storeName: vault, remoteKey: nats}}}`}},
	{name: "outsiders, and a third group", rendering: rendering{values: `
nats: {publishers: {publisher: null, yard: [cam1, cam2]}, readers: {wall: ["*"]}, auth: {user: b}, prefix: blue}
groups: [{name: detect, slot: 1, task: detect}, {name: depth, slot: 2, task: depth}, {name: faces, slot: 3, task: detect}]
workers: {faces: {task: detect}}`}},
	{name: "a gateway by TLS, under a path", rendering: rendering{values: `
gateway:
  basePath: /spatial-flow
  tls: {secretName: certificate}
  tokens: {existingSecret: tokens}
  anonymous: [view, status]
  trustedProxies: [10.0.0.0/8, 192.0.2.1]
ingress: {enabled: true, hosts: [viewer.example.org]}`}, outside: []string{"Secret certificate", "Secret tokens"}},
	{name: "gpu", rendering: rendering{values: `
image: {pullSecrets: [{name: registry}]}
workers:
  detect:
    provider: cuda
    gpu: {enabled: true, resourceName: nvidia.com/mig-1g.10gb, count: 2, runtimeClassName: nvidia, cacheClaim: kernels}
    model: {kind: pvc, claim: models, file: sub/yolov8n.onnx}
    tolerations: [{key: gpu, operator: Equal, value: "true", effect: NoSchedule}]
    nodeSelector: {accelerator: a100}
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}}
  depth:
    provider: tensorrt
    gpu: {enabled: true, resourceName: nvidia.com/gpu.shared}
    replicas: 3
    autoscaling: {type: keda, min: 2, max: 6}`}, outside: []string{"Secret registry", "PersistentVolumeClaim models", "PersistentVolumeClaim kernels"}},
	{name: "hpa", rendering: rendering{values: `
workers: {detect: {autoscaling: {type: hpa, min: 2, max: 8, cpu: 60}}}`}},
	{name: "keda, lossless, from nothing", rendering: rendering{values: `
workers: {depth: {autoscaling: {type: keda, min: 0, max: 3, lossless: {lag: 20, activation: 1}}}}`}},
	{name: "keda, beside another release in one account", rendering: rendering{values: `
nats: {prefix: blue}
workers: {depth: {autoscaling: {type: keda}}}`}},
	{name: "keda, live", rendering: rendering{values: `
workerDefaults: {autoscaling: {type: keda, live: {enabled: true, busy: 0.8}, lossless: {enabled: false}}}
keda: {prometheus: {address: "http://prometheus.monitoring:9090", matchers: 'container="worker"'}}`}},
	{name: "keda, both", rendering: rendering{values: `
workerDefaults: {autoscaling: {type: keda, live: {enabled: true}}}
keda: {prometheus: {address: "http://prometheus.monitoring:9090"}}`}},
	{name: "producers", rendering: rendering{values: `
producers:
  street: {sources: ["street:?fps=10"], mode: live, fps: 5, args: [--required=depth]}
  yard: {sourcesSecret: {name: cameras, key: yard}}
  film:
    kind: Job
    run: monday
    sources: ["film=/films/monday.mp4"]
    ttlSecondsAfterFinished: 3600
    volumes: [{name: films, persistentVolumeClaim: {claimName: films}}]
    volumeMounts: [{name: films, mountPath: /films, readOnly: true}]
    env: [{name: SPATIALFLOW_WINDOW, value: "64"}]
    resources: {limits: {memory: 2Gi}}
  off: {enabled: false, sources: ["street:"]}
networkPolicy: {cameras: {cidrs: [10.0.0.0/24], ports: [554]}}`}, outside: []string{"Secret cameras", "PersistentVolumeClaim films"}},
	{name: "ingress", rendering: rendering{values: `
ingress:
  enabled: true
  className: alb
  annotations: {alb.ingress.kubernetes.io/scheme: internal}
  hosts: [viewer.example.org, "*.example.net"]
  tls: [{secretName: viewer-tls, hosts: [viewer.example.org]}]
gateway: {hosts: [lb.example.org], origins: [a.example.org, "*.b.example.org"], replicas: 3, service: {port: 80, annotations: {a: b}}}`}, outside: []string{"Secret viewer-tls"}},
	{name: "ingress of any host", rendering: rendering{values: `{ingress: {enabled: true}}`}},
	{name: "http route", rendering: rendering{values: `
httpRoute: {enabled: true, parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [viewer.example.org], annotations: {a: b}}`}},
	{name: "watched", rendering: rendering{values: `
metrics: {podMonitor: {enabled: true}, prometheusRule: {enabled: true, labels: {release: prometheus}}, dashboards: {enabled: true, annotations: {grafana_folder: Spatial-Flow}}}
nats: {exporter: {enabled: true}}`}},
	{name: "no depth", rendering: rendering{values: `{workers: {depth: {enabled: false}}}`}},
	{name: "models by URL", rendering: rendering{values: `
workers:
  detect: {model: {kind: url, url: "https://models.example.org/yolov8n.onnx", sha256: "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef"}, args: [--detect-size, "320"]}
  depth: {model: {kind: url, url: "http://10.0.0.9:8080/depth.onnx", sha256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, parallel: 4}
networkPolicy: {models: {cidrs: [10.0.0.9/32], ports: [8080]}}`}},
	{name: "no policies, no budgets, no intake, no provisioning", rendering: rendering{values: `
networkPolicy: {enabled: false}
podDisruptionBudgets: false
ingest: {enabled: false}
provision: {enabled: false}`}},
	{name: "policies of a careful place", rendering: rendering{values: `
networkPolicy:
  dns: {namespace: dns, podLabels: {app: coredns}, cidrs: [169.254.20.10/32]}
  natsNamespaces: [publishers]
  monitoringNamespaces: [observability]
  kedaNamespaces: []
  gatewayFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}, {ipBlock: {cidr: 10.9.0.0/16, except: [10.9.1.0/24]}}]
  cameras: {cidrs: []}
producers: {street: {sources: ["street:"]}}`}},
	{name: "digests", rendering: rendering{values: `
image: {digests: {static: "sha256:` + digest + `", vision: "sha256:` + digest + `", visionCuda: "sha256:` + digest + `"}}
nats: {image: {digest: "sha256:` + digest + `"}}
workers: {depth: {provider: cuda, gpu: {enabled: true}}}`}},
	{name: "an account that exists", rendering: rendering{values: `{serviceAccount: {create: false, name: robot}}`}, outside: []string{"ServiceAccount robot"}},
	{name: "an account for AWS", rendering: rendering{values: `{serviceAccount: {annotations: {eks.amazonaws.com/role-arn: "arn:aws:iam::1:role/x"}}}`}},
	{name: "long names", rendering: rendering{values: `
fullnameOverride: this-name-is-so-long-that-objects-of-it-would-not-fit-into-a-label
nats: {replicas: 3}
producers: {a-name-of-thirty-characters-xx: {kind: Job, run: r, sources: ["/films/a.mp4"], volumes: [{name: films, emptyDir: {}}], volumeMounts: [{name: films, mountPath: /films}]}}
metrics: {dashboards: {enabled: true}, podMonitor: {enabled: true}}`}},
	{name: "a part of the name", rendering: rendering{values: `{nameOverride: flow}`}},
	{name: "pods of a team", rendering: rendering{values: `
pod: {labels: {team: vision}, annotations: {a: b}, priorityClassName: low, nodeSelector: {pool: a}, tolerations: [{operator: Exists}]}
gateway: {priorityClassName: high, nodeSelector: {pool: b}, preStopSeconds: 0}
fuser: {replicas: 4, topologySpreadConstraints: []}
nats: {tolerations: [{key: nats, operator: Exists}]}
log: {level: debug, format: text}
revisionHistoryLimit: 0
terminationGracePeriodSeconds: 90
provision: {partitions: 32, replicas: 1, liveReplicas: 1, scenesKeep: 1h30m, positionsKeep: 48h, guardBytes: 512Mi, liveFrameBytes: 64Mi, liveResultBytes: 32Mi, liveStorage: memory, args: ["--log-level=debug"]}
groups:
  - {name: depth, slot: 2, task: depth}
  - {name: detect, slot: 1, task: detect}
  - {name: pose, slot: 3, task: other, need: shadow, liveOnly: true, from: "2027-01-01T00:00:00Z"}
  - {name: faces, slot: 4, task: detect, enabled: false, retired: true}
  - {name: plates, slot: 5, task: detect, need: optional}
workers: {plates: {task: detect, model: {kind: demo}}}`}},
	{name: "names that look like something else", rendering: rendering{release: "2024", values: `
fullnameOverride: "on"
nameOverride: "0x1"
nats: {replicas: 3, auth: {existingSecret: "123"}, storage: {className: "1"}, exporter: {enabled: true}}
serviceAccount: {create: false, name: "1e3"}
producers:
  "1": {sources: ["street:"]}
  "on": {sourcesSecret: {name: "12", key: "1"}}
  "1e3": {kind: Job, run: "1", sources: [/films/a.mp4], volumes: [{name: "7", persistentVolumeClaim: {claimName: "8"}}], volumeMounts: [{name: "7", mountPath: /films}]}
  "null": {sources: ["street:"], priorityClassName: "5"}
  "y": {sources: ["street:"]}
  "2001-01-01": {sources: ["street:"]}
workers: {depth: {provider: cuda, gpu: {enabled: true, runtimeClassName: "2", cacheClaim: "3"}, model: {kind: pvc, claim: "4", file: 1.onnx}}}
pod: {labels: {team: "1", night: "off"}, priorityClassName: "5", nodeSelector: {pool: "6"}}
ingress: {enabled: true, className: "6", hosts: ["1"]}
metrics: {podMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboards: {enabled: true}}
networkPolicy: {dns: {namespace: "0"}, natsNamespaces: ["123"], monitoringNamespaces: ["1e3", "true"], kedaNamespaces: ["no"]}`},
		outside: []string{"Secret 123", "Secret 12", "ServiceAccount 1e3", "PersistentVolumeClaim 3", "PersistentVolumeClaim 4", "PersistentVolumeClaim 8"}},
	{name: "a service account of a name that looks like something else", rendering: rendering{values: `serviceAccount: {name: "1e3"}
nats: {auth: {externalSecret: {enabled: true, storeName: "1", remoteKey: "2"}}}`}},
	{name: "an upgrade", rendering: rendering{preset: "values-cpu.yaml", upgrade: true}},
	{name: "the oldest Kubernetes", rendering: rendering{preset: "values-cpu.yaml", version: "v1.30.0", apis: []string{}}},
	{name: "a provider's version", rendering: rendering{preset: "values-cpu.yaml", version: "v1.33.1-eks-abcdef"}},
}

var digest = strings.Repeat("0123456789abcdef", 4)

var (
	rendered     = map[string][]object{}
	renderedLock sync.Mutex
)

// mustObjects renders a case once.
func mustObjects(t *testing.T, c matrixCase) []object {
	t.Helper()
	renderedLock.Lock()
	defer renderedLock.Unlock()
	objects, ok := rendered[c.name]
	if !ok {
		var err error
		if objects, err = c.objects(t); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		rendered[c.name] = objects
	}
	return objects
}

// forEach runs a check over all cases.
func forEach(t *testing.T, check func(t *testing.T, c matrixCase, objects []object)) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { check(t, c, mustObjects(t, c)) })
	}
}

func TestRenders(t *testing.T) {
	forEach(t, func(t *testing.T, _ matrixCase, objects []object) {
		names := map[string]bool{}
		for _, o := range objects {
			if names[o.String()] {
				t.Errorf("%s comes twice", o)
			}
			names[o.String()] = true
			if len(o.name) > 63 {
				t.Errorf("%s: %d characters, at most 63", o, len(o.name))
			}
			named := validation.IsDNS1123Subdomain
			if o.Kind == "Service" {
				named = validation.IsDNS1035Label
			}
			if wrong := named(o.name); len(wrong) > 0 {
				t.Errorf("%s: %v", o, wrong)
			}
		}
	})
}

// What README.md calls by name is what a release named demo has.
func TestReadmeNamesWhatIsThere(t *testing.T) {
	c := cases[slices.IndexFunc(cases, func(c matrixCase) bool { return c.name == "cpu" })]
	readme := file(t, "charts/spatial-flow/README.md")
	if strings.Contains(readme, "<release>-") {
		t.Error("no object is named <release>-…: the chart's name is between, mostly")
	}
	named := regexp.MustCompile(`(\w+)[ /]`+"`?"+`(demo-[-a-z]+)`).FindAllStringSubmatch(readme, -1)
	for _, name := range named {
		if !slices.ContainsFunc(mustObjects(t, c), func(o object) bool { return strings.EqualFold(o.Kind, name[1]) && o.name == name[2] }) {
			t.Errorf("README.md names a %s %s, which is not there", name[1], name[2])
		}
	}
	if len(named) < 4 {
		t.Errorf("README.md names %v", named)
	}
}

// Two releases in one namespace never have an object of one name, however alike their names begin; short names stay.
func TestLongNamesDiffer(t *testing.T) {
	long := strings.Repeat("camera-", 6) // and a release's name may have 53 characters
	for name, two := range map[string][2]rendering{
		"releases":                      {{release: long + "east"}, {release: long + "west"}},
		"releases that name the chart":  {{release: "spatial-flow-" + long[:35] + "east"}, {release: "spatial-flow-" + long[:35] + "west"}},
		"fullnameOverride":              {{values: "fullnameOverride: " + long + "east"}, {values: "fullnameOverride: " + long + "west"}},
		"one that is not cut, one that": {{release: long[:27]}, {release: long[:27] + "x"}},
	} {
		seen := map[string]bool{}
		for _, r := range two {
			objects, err := r.objects(t)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, o := range objects {
				if seen[o.String()] || len(o.name) > 63 {
					t.Errorf("%s: both have %s, or it is too long", name, o)
				}
			}
			for _, o := range objects {
				seen[o.String()] = true
			}
		}
	}
	for r, want := range map[string]string{"demo": "demo-spatial-flow-gateway", "my-spatial-flow": "my-spatial-flow-gateway", long[:27]: long[:27] + "-spatial-flow-gateway"} {
		objects, err := rendering{release: r}.objects(t)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(objects, func(o object) bool { return o.Kind == "Service" && o.name == want }) {
			t.Errorf("release %s has no Service %s", r, want)
		}
	}
}

// Each preset in the chart's folder is a case.
func TestEveryPresetIsACase(t *testing.T) {
	presets, err := filepath.Glob(filepath.Join(chartDir, "values-*.yaml"))
	if err != nil || len(presets) < 4 {
		t.Fatalf("presets %v, %v", presets, err)
	}
	for _, preset := range presets {
		if !slices.ContainsFunc(cases, func(c matrixCase) bool { return c.preset == filepath.Base(preset) }) {
			t.Errorf("no case is %s", preset)
		}
	}
}

// What `helm lint --strict` says: nothing.
func TestLint(t *testing.T) {
	version := &chartutil.KubeVersion{Version: "v1.34.4", Major: "1", Minor: "34"}
	forEach(t, func(t *testing.T, c matrixCase, _ []object) {
		linter := lint.AllWithKubeVersion(chartDir, c.given(t), namespace, version)
		for _, message := range linter.Messages {
			if message.Severity >= support.InfoSev {
				t.Error(message)
			}
		}
	})
}

func TestNotes(t *testing.T) {
	for name, want := range map[string][]string{
		"defaults":                       {"kubectl --namespace vision port-forward service/demo-spatial-flow-gateway 8000:8000", "get secret demo-spatial-flow-gateway-tokens", "{.data.publisher-a}"},
		"a gateway by TLS, under a path": {"open https://127.0.0.1:8000/spatial-flow/", "those of the Secret tokens", "what everybody may (view, status)"},
	} {
		c := cases[slices.IndexFunc(cases, func(c matrixCase) bool { return c.name == name })]
		c.cluster = emptyCluster
		files, err := c.render(t)
		if err != nil {
			t.Fatal(err)
		}
		notes := files["spatial-flow/templates/NOTES.txt"]
		for _, want := range want {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: the notes lack %q:\n%s", name, want, notes)
			}
		}
	}
}

// The chart is a package of files: what templates read must be in it, and what is for people must not.
func TestPackage(t *testing.T) {
	folder := t.TempDir()
	archive, err := chartutil.Save(load(t), folder)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(archive)
	if err != nil || info.Size() > 500_000 {
		t.Errorf("%s: %d bytes, %v", archive, info.Size(), err) // a release holds the chart, and a Secret at most 1 MB
	}
	files := map[string]bool{}
	for _, file := range load(t).Raw {
		files[file.Name] = true
	}
	for _, want := range []string{"README.md", "values.schema.json", "files/dashboards/overview.json", "files/rules/spatial-flow.yaml"} {
		if !files[want] {
			t.Errorf("the package lacks %s", want)
		}
	}
}
