package charts_test

// policyCase is a release and who may reach whom in it.
type policyCase struct {
	name string
	rendering
	table string
}

var policyCases = []policyCase{
	{name: "as it comes", rendering: rendering{preset: "values-cpu.yaml"}, table: `
camera → gateway: 8000
dns → gateway: 8000
fuser → dns: 53
fuser → nats: 4222
gateway → dns: 53
gateway → nats: 4222
ingest → dns: 53
ingest → nats: 4222
ingress → gateway: 8000
internet → gateway: 8000
internet of IPv6 → gateway: 8000
keda → gateway: 8000
keda → nats: 8222
metadata → gateway: 8000
metadata of IPv6 → gateway: 8000
models → gateway: 8000
nats → dns: 53
neighbour → gateway: 8000
producer street → camera: all
producer street → dns: all
producer street → gateway: 8000
producer street → ingress: all
producer street → internet: all
producer street → internet of IPv6: all
producer street → keda: all
producer street → models: all
producer street → nats: 4222
producer street → neighbour: all
producer street → prometheus: all
producer street → publisher: all
prometheus → fuser: 8001
prometheus → gateway: 8000 8001
prometheus → ingest: 8001
prometheus → nats: 8222
prometheus → producer street: 8001
prometheus → provision: 8001
prometheus → worker depth: 8001
prometheus → worker detect: 8001
provision → dns: 53
provision → nats: 4222
publisher → gateway: 8000
test → dns: 53
test → gateway: 8000
test → nats: 4222
worker depth → dns: 53
worker depth → nats: 4222
worker detect → dns: 53
worker detect → nats: 4222`},
	{name: "three servers, publishers, models by URL, cameras in one network", rendering: rendering{values: `
nats: {replicas: 3, exporter: {enabled: true}}
producers: {yard: {sources: ["rtsp://10.0.0.5/a"]}}
workers: {detect: {model: {kind: url, url: "https://10.0.0.9/a.onnx", sha256: "` + digest + `"}}}
networkPolicy:
  natsNamespaces: [publishers]
  cameras: {cidrs: [10.0.0.0/29], ports: [554]}
  models: {cidrs: [10.0.0.9/32], ports: [443]}
  gatewayFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]`}, table: `
fuser → dns: 53
fuser → nats: 4222
gateway → dns: 53
gateway → nats: 4222
ingest → dns: 53
ingest → nats: 4222
ingress → gateway: 8000
keda → nats: 8222
nats → dns: 53
nats → nats: 6222
producer yard → camera: 554
producer yard → dns: 53
producer yard → nats: 4222
prometheus → fuser: 8001
prometheus → gateway: 8001
prometheus → ingest: 8001
prometheus → nats: 7777 8222
prometheus → producer yard: 8001
prometheus → provision: 8001
prometheus → worker depth: 8001
prometheus → worker detect: 8001
provision → dns: 53
provision → nats: 4222
publisher → nats: 4222
test → dns: 53
test → gateway: 8000
test → nats: 4222
worker depth → dns: 53
worker depth → nats: 4222
worker detect → dns: 53
worker detect → models: 443
worker detect → nats: 4222`},
	{name: "another's NATS", rendering: rendering{values: `
nats: {enabled: false, url: "nats://nats.messaging:4222", auth: {existingSecret: passwords}}
networkPolicy: {nats: {cidrs: [203.0.113.0/24]}, monitoringNamespaces: [], kedaNamespaces: []}`}, table: `
camera → gateway: 8000
dns → gateway: 8000
fuser → dns: 53
fuser → internet: 4222
gateway → dns: 53
gateway → internet: 4222
ingest → dns: 53
ingest → internet: 4222
ingress → gateway: 8000
internet → gateway: 8000
internet of IPv6 → gateway: 8000
keda → gateway: 8000
metadata → gateway: 8000
metadata of IPv6 → gateway: 8000
models → gateway: 8000
neighbour → gateway: 8000
prometheus → gateway: 8000
provision → dns: 53
provision → internet: 4222
publisher → gateway: 8000
test → dns: 53
test → gateway: 8000
test → internet: 4222
worker depth → dns: 53
worker depth → internet: 4222
worker detect → dns: 53
worker detect → internet: 4222`},
}
