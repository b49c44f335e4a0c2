#!/usr/bin/env bash
# Tries the chart on a real Kubernetes cluster: make cluster-test KUBECONFIG=…
# It wants kubectl, helm, docker with the images static and vision, Go, ffmpeg and python3. It works in a namespace of
# its own, spatial-flow-test, and takes everything down at the end.
#   LOAD='kind load docker-image'  how an image is brought into the cluster: called with one image's name
#   REGISTRY=…    where the cluster pulls the images from instead, after make push
#   STORAGE=…     storage class; the cluster's default otherwise
#   MOST_GAP=5    seconds that a live source may be without a scene during an upgrade
#   KEEP=1        leave everything running
set -euo pipefail
cd "$(dirname "$0")/.."

: "${KUBECONFIG:?name the cluster: make cluster-test KUBECONFIG=…}"
VERSION=$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' charts/spatial-flow/Chart.yaml)
RELEASE=spatial-flow NAMESPACE=spatial-flow-test CHART=charts/spatial-flow MOST_GAP=${MOST_GAP:-5}
FRAMES=${FRAMES:-3600}
NATS_IMAGE=nats:$(sed -n '/^nats:/,/^[a-z]/s/^    tag: *//p' $CHART/values.yaml | head -1)
NAME=$RELEASE
work=$(mktemp -d)
began=$SECONDS
forwards=()
step() { printf '[%4ds] %s\n' $((SECONDS - began)) "$*"; }
k() { kubectl -n "$NAMESPACE" "$@"; }
fail() {
	step "FAILED: $*"
	{ k get pods,jobs -o wide; k get events --sort-by=.lastTimestamp | tail -20; for pod in $(k get pods -o name); do k logs "$pod" --tail=8 --prefix --all-containers; done; } 2>&1 | tail -120 >&2 || true
	exit 1
}
cleanup() {
	for pid in "${forwards[@]}"; do kill "$pid" 2>/dev/null || true; done
	if [ -z "${KEEP:-}" ]; then
		helm uninstall "$RELEASE" -n "$NAMESPACE" --wait --timeout 3m >/dev/null 2>&1 || true
		kubectl delete namespace "$NAMESPACE" --wait=true --timeout=3m >/dev/null 2>&1 || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT
until_ok() { # until_ok SECONDS WHAT COMMAND…
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "$what"
		sleep 0.5
	done
}

step "building what looks from outside: the nats program"
build/tool.sh -into "$work" nats
images=(-f "$CHART/values-cpu.yaml")
if [ -n "${REGISTRY:-}" ]; then
	images+=(--set "image.registry=$REGISTRY")
else
	images+=(--set image.registry=localhost --set image.pullPolicy=Never)
	for image in static vision; do
		docker tag "spatial-flow-$image:$VERSION" "localhost/spatial-flow-$image:$VERSION"
		${LOAD:?LOAD= says how an image is brought into the cluster, or REGISTRY= where it pulls them from} "localhost/spatial-flow-$image:$VERSION" >/dev/null
	done
	$LOAD "$NATS_IMAGE" >/dev/null
	step "images loaded"
fi
[ -z "${STORAGE:-}" ] || images+=(--set "nats.storage.className=$STORAGE")
common=("${images[@]}" --set nats.replicas=1 --set-json 'nats.readers={"watcher":["*"]}' --set nats.storage.size=8Gi --set provision.guardBytes=1Gi)

SERVER=$(kubectl version -o json | python3 -c 'import json,sys; print(json.load(sys.stdin)["serverVersion"]["gitVersion"].lstrip("v"))')

# ---------------------------------------------------------------- every preset, as the API server sees it
kubectl create namespace "$NAMESPACE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl label namespace "$NAMESPACE" --overwrite pod-security.kubernetes.io/enforce=restricted >/dev/null
for secret in nats-users gateway-tokens; do k create secret generic "$secret" --from-literal=x=y --dry-run=client -o yaml | k apply -f - >/dev/null; done
for preset in "$CHART"/values-*.yaml; do
	helm template "$RELEASE" "$CHART" -n "$NAMESPACE" -f "$preset" --set image.registry=localhost --set nats.auth.existingSecret=nats-users --set gateway.tokens.existingSecret=gateway-tokens \
		--kube-version "$SERVER" --api-versions monitoring.coreos.com/v1 --api-versions keda.sh/v1alpha1 --skip-tests >"$work/preset.yaml" 2>"$work/preset.err" || fail "$preset is not rendered: $(cat "$work/preset.err")"
	k apply --server-side --dry-run=server -f "$work/preset.yaml" >"$work/applied" 2>&1 || {
		# Kinds of operators that this cluster has not.
		grep -v 'no matches for kind\|ensure CRDs are installed first\|serverside-applied' "$work/applied" >"$work/refused" || true
		[ ! -s "$work/refused" ] || fail "$preset is refused: $(cat "$work/refused")"
	}
	if grep -q 'would violate PodSecurity' "$work/applied"; then fail "$preset: $(grep 'would violate' "$work/applied")"; fi
	step "server-side apply of $(basename "$preset"): $(grep -c serverside-applied "$work/applied") objects"
done
k delete secret nats-users gateway-tokens >/dev/null

# ---------------------------------------------------------------- install
begin=$SECONDS
helm install "$RELEASE" "$CHART" -n "$NAMESPACE" "${common[@]}" --wait --wait-for-jobs --timeout 5m >"$work/notes" 2>&1 || fail "helm install: $(tail -3 "$work/notes")"
step "helm install --wait: $((SECONDS - begin)) s"
begin=$SECONDS
helm test "$RELEASE" -n "$NAMESPACE" --timeout 3m >"$work/test" 2>&1 || fail "helm test: $(cat "$work/test")"
step "helm test: $((SECONDS - begin)) s"

# ---------------------------------------------------------------- what looks from outside
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
forward() { # the way to NATS, again and again: it ends when the pod does, and when the API server is slow
	while :; do
		kubectl -n "$NAMESPACE" port-forward "svc/$NAME-nats" "$PORT:4222" >"$work/forward" 2>&1 &
		trap 'kill $! 2>/dev/null; exit' TERM
		wait $! || true
		sleep 1
	done
}
forward &
forwards+=($!)
password() { k get secret "$NAME-nats" -o jsonpath="{.data.$1-a}" | base64 -d | tail -n 1; }
as() { # as ROLE COMMAND…: of the nats program
	local role=$1
	shift
	NATS_USER=$role-a NATS_PASSWORD=$(password "$role") "$work/nats" --server "nats://127.0.0.1:$PORT" --inbox-prefix="_INBOX_$role" "$@"
}
nats() { as monitor "$@"; }
until_ok 30 "NATS is not reached" nats stream ls
stored() { nats stream subjects SCENES_LOSSLESS "scenes.lossless.*.film.$1.*" --json 2>/dev/null | python3 -c '
import json, sys
seqs = sorted(int(s.rsplit(".", 1)[1]) for s, n in json.load(sys.stdin).items() for _ in range(n))
print(len(seqs) if seqs == list(range(1, len(seqs) + 1)) else f"not 1 to {len(seqs)}: {seqs}")' 2>/dev/null || echo 0; }
reached() { local n; n=$(stored "$1"); [[ $n =~ ^[0-9]+$ ]] && [ "$n" -ge "$2" ]; }
watch_live() {
	NATS_USER=watcher-a NATS_PASSWORD=$(password watcher) "$work/nats" --server "nats://127.0.0.1:$PORT" --inbox-prefix=_INBOX_watcher sub 'scenes.live.*.street' --headers-only --delta-time >"$work/live" 2>&1 &
	recorder=$! since=$(date +%s.%N)
	forwards+=("$recorder")
}
gap() { # the longest time without a scene of the live source, in seconds, and how many came
	local heard
	heard=$(python3 -c "import time; print(time.time() - $since)")
	kill "$recorder" 2>/dev/null || true
	wait "$recorder" 2>/dev/null || true
	python3 - "$work/live" "$heard" <<'PY'
import re, sys
times, unit = [], {"µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
for line in open(sys.argv[1], errors="replace"):
    found = re.match(r"\[#\d+\] @ (\S+) Received", line)
    if found:
        times.append(sum(float(n) * unit[u] for n, u in re.findall(r"([0-9.]+)(µs|ms|s|m|h)", found[1])))
ends = [0.0] + times + [float(sys.argv[2])]
print(f"{max(b - a for a, b in zip(ends, ends[1:])):.1f} {len(times)}")
PY
}

# ---------------------------------------------------------------- who may do what
refused() { # refused ROLE COMMAND…: the server says so
	local said
	said=$(as "$@" 2>&1) || true
	grep -q 'Permissions Violation' <<<"$said" || fail "$* is not refused: $said"
}
refused depth --timeout=2s stream info FRAMES_LIVE
refused watcher --timeout=2s req --raw ingest.cam1 x
refused publisher --timeout=2s stream ls
refused monitor --timeout=2s stream purge -f SCENES_LOSSLESS
token=$(k get secret "$NAME-gateway-tokens" -o jsonpath='{.data.token}' | base64 -d)
k port-forward "svc/$NAME-gateway" 18001:8000 >"$work/gateway" 2>&1 &
forwards+=($!)
asked() { curl -s -o /dev/null -w '%{http_code}' "$@" http://127.0.0.1:18001/api/v1/sources; }
until_ok 30 "the gateway is not reached" curl -s http://127.0.0.1:18001/
printf 'Authorization: Bearer %s' "$token" >"$work/header"
[ "$(asked)" = 401 ] || fail "without a token the gateway answers $(asked), want 401"
[ "$(asked -H "@$work/header")" = 200 ] || fail "with the token it answers $(asked -H "@$work/header"), want 200"
step "roles are refused what is not theirs, and the gateway asks for its token"

# ---------------------------------------------------------------- a film, while everything is rolled
ffmpeg -v error -y -f lavfi -i "testsrc2=size=320x240:rate=10:duration=$((FRAMES / 10))" -c:v mpeg4 -q:v 5 "$work/film.mp4"
k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: films}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}${STORAGE:+, storageClassName: $STORAGE}}
---
apiVersion: v1
kind: Pod
metadata: {name: loader}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: loader
    image: ${REGISTRY:-localhost}/spatial-flow-vision:$VERSION
    imagePullPolicy: IfNotPresent
    command: [sleep, "600"]
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 200m, memory: 64Mi}}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: films, mountPath: /films}]
  volumes: [{name: films, persistentVolumeClaim: {claimName: films}}]
YAML
k wait --for=condition=Ready pod/loader --timeout=90s >/dev/null || fail "no pod to bring the film in"
k exec -i loader -- sh -c 'cat >/films/film.mp4' <"$work/film.mp4"
k delete pod loader --wait=true --grace-period=1 >/dev/null
cat >"$work/film.yaml" <<'YAML'
producers:
  film:
    kind: Job
    run: rolled
    sources: ["film=/films/film.mp4"]
    volumes: [{name: films, persistentVolumeClaim: {claimName: films}}]
    volumeMounts: [{name: films, mountPath: /films, readOnly: true}]
YAML
watch_live
helm upgrade "$RELEASE" "$CHART" -n "$NAMESPACE" "${common[@]}" -f "$work/film.yaml" >/dev/null || fail "helm upgrade with a film"
until_ok 120 "the film does not begin" reached rolled 20
for deployment in $(k get deployments -l "app.kubernetes.io/instance=$RELEASE" -o name); do
	k rollout restart "$deployment" >/dev/null
	k rollout status "$deployment" --timeout=120s >/dev/null || fail "$deployment does not come back"
	step "rolled ${deployment#*/}, with $(stored rolled) scenes stored"
done
k delete pod -l "app.kubernetes.io/component=producer,spatial-flow/name=film" --wait=false >/dev/null
step "deleted the film's pod, with $(stored rolled) scenes stored"
k delete "$(k get pods -l "app.kubernetes.io/component=worker,spatial-flow/name=detect" -o name | head -1)" --wait=false >/dev/null
step "deleted a worker's pod, with $(stored rolled) scenes stored"
if reached rolled "$FRAMES"; then fail "the film was over too early to show anything: FRAMES=$((2 * FRAMES))"; fi
film=$(k get jobs -l "app.kubernetes.io/component=producer,spatial-flow/name=film" -o name)
k wait --for=condition=Complete "$film" --timeout=300s >/dev/null || fail "the film's Job does not complete; stored: $(stored rolled)"
all() { [ "$(stored rolled)" = "$FRAMES" ]; }
until_ok 30 "scenes stored: $(stored rolled), want $FRAMES, each once" all
step "$FRAMES lossless scenes, each once, while every Deployment was rolled and two pods were deleted"
read -r longest scenes < <(gap)
step "the live source meanwhile: $scenes scenes, at most $longest s without one (its own producer was rolled too: Recreate)"

# ---------------------------------------------------------------- upgrades under a live source
upgrade() { # upgrade WHAT SETTINGS…: the live source's gap
	local what=$1
	shift
	watch_live
	sleep 3
	local begin=$SECONDS
	helm upgrade "$RELEASE" "$CHART" -n "$NAMESPACE" "${common[@]}" "$@" --wait --wait-for-jobs --timeout 4m >"$work/upgrade" 2>&1 || fail "helm upgrade, $what: $(tail -3 "$work/upgrade")"
	local took=$((SECONDS - begin))
	sleep 8
	read -r longest scenes < <(gap)
	step "helm upgrade, $what: $took s; live source: $scenes scenes, at most $longest s without one"
	python3 -c "import sys; sys.exit(0 if $longest <= $MOST_GAP else 1)" || fail "$what left the live source without a scene for $longest s, more than $MOST_GAP"
}
upgrade "another model for depth" --set-json 'workers.depth.args=["--depth-size", "252"]'
upgrade "depth switched off" --set workers.depth.enabled=false
upgrade "depth switched on" --set workers.depth.enabled=true
upgrade "three fusers" --set fuser.replicas=3
before=$(k get secret "$NAME-nats" -o jsonpath='{.data}')
watch_live
sleep 3
helm rollback "$RELEASE" -n "$NAMESPACE" --wait --timeout 4m >/dev/null || fail "helm rollback"
sleep 8
read -r longest scenes < <(gap)
step "helm rollback; live source: $scenes scenes, at most $longest s without one"
[ "$(k get secret "$NAME-nats" -o jsonpath='{.data}')" = "$before" ] || fail "the passwords changed"
helm test "$RELEASE" -n "$NAMESPACE" --timeout 3m >/dev/null 2>&1 || fail "helm test after the rollback"

# ---------------------------------------------------------------- the server's own pod
before=$(nats stream info SCENES_LOSSLESS --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["state"]["messages"])')
begin=$SECONDS
k delete pod "$NAME-nats-0" --wait=true >/dev/null
k rollout status "statefulset/$NAME-nats" --timeout=120s >/dev/null || fail "NATS does not come back"
until_ok 30 "NATS is not reached again" nats stream ls
after=$(nats stream info SCENES_LOSSLESS --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["state"]["messages"])')
[ "$after" = "$before" ] || fail "NATS had $before scenes and has $after"
helm test "$RELEASE" -n "$NAMESPACE" --timeout 3m >/dev/null 2>&1 || fail "helm test after NATS was restarted"
step "NATS's pod deleted: everything was there again, and helm test passed, after $((SECONDS - begin)) s"

# ---------------------------------------------------------------- docs/operate.md
for pid in "${forwards[@]}"; do kill "$pid" 2>/dev/null || true; done
ln -s "$PWD/charts" "$work/charts"
(cd "$work" && PATH=$work:$PATH "$OLDPWD/build/page.sh" "$OLDPWD/docs/operate.md" cluster "s/-n $RELEASE /-n $NAMESPACE /g; s/4222:4222/$PORT:4222/; s/127.0.0.1:4222/127.0.0.1:$PORT/; s/8000:8000/18000:8000/; s/127.0.0.1:8000/127.0.0.1:18000/") || fail "docs/operate.md"
helm test "$RELEASE" -n "$NAMESPACE" --timeout 3m >/dev/null 2>&1 || fail "helm test after the commands of docs/operate.md"
step "every command of docs/operate.md ran, and helm test passed"

# A GPU that no node has: the pod waits, says why, and the rest goes on.
helm upgrade "$RELEASE" "$CHART" -n "$NAMESPACE" "${common[@]}" --set workers.depth.gpu.enabled=true --set workers.depth.provider=cuda >/dev/null || fail "helm upgrade to a GPU"
until_ok 60 "a pod that wants a GPU does not say what is missing" bash -c "kubectl -n $NAMESPACE get events | grep -q 'Insufficient nvidia.com/gpu'"
step "a worker that wants a GPU stays Pending: Insufficient nvidia.com/gpu"
helm upgrade "$RELEASE" "$CHART" -n "$NAMESPACE" "${common[@]}" --wait --timeout 3m >/dev/null || fail "back to CPUs"

# ---------------------------------------------------------------- the end
begin=$SECONDS
helm uninstall "$RELEASE" -n "$NAMESPACE" --wait --timeout 3m >/dev/null || fail "helm uninstall"
until_ok 90 "pods stay after helm uninstall" bash -c "! kubectl -n $NAMESPACE get pods -o name | grep -q ."
left=$(k get all,secrets,configmaps,pvc,networkpolicies,ingresses,serviceaccounts,poddisruptionbudgets,roles,rolebindings -o name 2>/dev/null | grep -v 'configmap/kube-root-ca.crt\|serviceaccount/default' | sort | tr '\n' ' ')
step "helm uninstall: $((SECONDS - begin)) s; left: $left"
expected="persistentvolumeclaim/data-$NAME-nats-0 persistentvolumeclaim/films "
[ "$left" = "$expected" ] || fail "helm uninstall left $left; want $expected"
step "all passed on Kubernetes $SERVER, helm $(helm version --short)"
