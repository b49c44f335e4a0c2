#!/usr/bin/env bash
# Tries the images and docker-compose.yml on a real Docker engine: make images-test.
# It wants docker with its compose plugin, Go, ffmpeg and curl, and the ports HTTP_PORT and NATS_PORT free (8000 and 4222
# unless they are set). It runs as a compose project of its own, spatial-flow-test, and takes everything down at the end.
#   SKIP_BUILD=1  the images are there already        KEEP=1  leave everything running
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=spatial-flow-test HTTP_PORT=${HTTP_PORT:-8000} NATS_PORT=${NATS_PORT:-4222}
VERSION=${VERSION:-$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' charts/spatial-flow/Chart.yaml)}
export VERSION
GATEWAY=http://127.0.0.1:$HTTP_PORT
MOST_VISION_MB=300
work=$(mktemp -d)
export SECRETS=$work/secrets
began=$SECONDS
step() { printf '[%4ds] %s\n' $((SECONDS - began)) "$*"; }
fail() { step "FAILED: $*"; docker compose ps -a 2>/dev/null || true; docker compose logs --tail 20 2>/dev/null || true; exit 1; }
standalone=spatial-flow-test-standalone
# A developer's own settings have no say here, and none of the test's stays.
[ ! -e .env ] || mv .env "$work/env"
cleanup() {
	docker rm -f "$standalone" >/dev/null 2>&1 || true
	if [ -z "${KEEP:-}" ]; then
		docker compose down -v --remove-orphans >/dev/null 2>&1 || true
		rm -f .env
		[ ! -e "$work/env" ] || mv "$work/env" .env
	fi
	rm -rf "$work"
}
trap cleanup EXIT
until_ok() { # until_ok SECONDS WHAT COMMAND…
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "$what"
		sleep 0.2
	done
}

[ -n "${SKIP_BUILD:-}" ] || { step "building the images"; make images VERSION="$VERSION"; }
step "building what looks from outside: smoke and the nats program"
CGO_ENABLED=0 go build -o "$work/smoke" ./gateway/cmd/smoke
build/tool.sh -into "$work" nats

# ---------------------------------------------------------------- the images
for image in static vision vision-cuda standalone; do
	name=spatial-flow-$image:$VERSION
	docker image inspect "$name" >/dev/null 2>&1 || fail "no image $name"
	size=$(($(docker image inspect -f '{{.Size}}' "$name") / 1000000))
	user=$(docker image inspect -f '{{.Config.User}}' "$name")
	labelled=$(docker image inspect -f '{{index .Config.Labels "org.opencontainers.image.version"}}' "$name")
	step "$name: $size MB, user $user, version $labelled"
	case $user in [1-9]*) ;; *) fail "$name runs as $user, which is no number" ;; esac
	[ "$labelled" = "$VERSION" ] || fail "$name says that it is version $labelled"
	[ "$image" != vision ] || [ "$size" -le "$MOST_VISION_MB" ] || fail "$name takes more than $MOST_VISION_MB MB"
done
for program in static:fuser static:gateway static:provision static:smoke static:nats-config vision:producer vision:worker vision-cuda:worker standalone:; do # standalone knows its program
	said=$(docker run --rm --read-only "spatial-flow-${program%%:*}:$VERSION" ${program##*:} --version) || fail "$program --version"
	[[ $said == *" $VERSION "* ]] || fail "$program says: $said"
done

# ---------------------------------------------------------------- standalone
step "standalone: docker run --rm --read-only -p $HTTP_PORT:8000"
docker run -d --rm --read-only --cap-drop ALL --security-opt no-new-privileges --name "$standalone" -p "127.0.0.1:$HTTP_PORT:8000" "spatial-flow-standalone:$VERSION" >/dev/null
: >"$work/bearer"
ask() { curl -sf -H "@$work/bearer" "$GATEWAY$1"; } # with the token, once there is one
scene() { ask "/api/v1/sources/$1/scene"; }
until_ok 60 "standalone shows no street" scene street
[[ $(curl -sf "$GATEWAY/") == *"<title>"* ]] || fail "standalone has no viewer page"
until_ok 30 "standalone is not healthy" docker exec "$standalone" spatialflow healthy
docker exec "$standalone" spatialflow drain || fail "standalone does not drain"
until_ok 30 "standalone does not end" bash -c "! docker ps -q --no-trunc --filter name=^/$standalone\$ | grep -q ."
step "standalone showed the street, and drained"
step "the commands of docs/deploy.md"
ffmpeg -v error -y -f lavfi -i testsrc2=size=320x240 -frames:v 1 "$work/picture.jpg"
NATS_URL=nats://127.0.0.1:$NATS_PORT PATH=$work:$PATH build/page.sh docs/deploy.md images \
	"s/:0\\.1\\.0/:$VERSION/; s/127.0.0.1:8000:/127.0.0.1:0:/; s# secrets/# $SECRETS/#; s#<picture.jpg#<$work/picture.jpg#; s#//127.0.0.1:8000/#//127.0.0.1:$HTTP_PORT/#" || fail "docs/deploy.md"
docker compose down -v >/dev/null 2>&1

# ---------------------------------------------------------------- compose
mkdir -p media models
film=media/images-test.mp4
frames=900
ffmpeg -v error -y -f lavfi -i "testsrc2=size=320x240:rate=10:duration=$((frames / 10))" -c:v mpeg4 -q:v 5 "$film"
trap 'rm -f "$film"; cleanup' EXIT
step "make compose"
up=$SECONDS
make -s compose
printf 'Authorization: Bearer %s\n' "$(cat "$SECRETS/token")" >"$work/bearer"
until_ok 60 "no live picture" scene street
step "a live picture $((SECONDS - up)) s after make compose"
[ $((SECONDS - up)) -lt 60 ] || fail "that is not within 60 s"
export SPATIALFLOW_NATS=nats://127.0.0.1:$NATS_PORT SPATIALFLOW_NATS_PASSWORD_FILE=$SECRETS/users/publisher-a SPATIALFLOW_TOKEN_FILE=$SECRETS/token
"$work/smoke" --gateway "$GATEWAY" || fail "a published picture shows no scene"
[[ $(ask /api/v1/sources) == *'"smoke"'* ]] || fail "the published picture is no source"

for container in $(docker compose ps -aq); do
	docker inspect -f '{{.Name}} {{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}' "$container" | {
		read -r name user readonly drops memory
		case $user in [1-9]*) ;; *) fail "$name runs as '$user'" ;; esac
		[ "$readonly" = true ] || fail "$name can write to its root"
		[ "$drops" = "[ALL]" ] || fail "$name has capabilities"
		[ "$memory" -gt 0 ] || fail "$name has no limit of memory"
	}
	docker inspect "$container" >>"$work/inspected"
	docker top "$container" >>"$work/inspected"
done
step "every container runs without root, on a read-only root, without capabilities"

docker compose logs >>"$work/inspected" 2>&1
tail -qn 1 "$SECRETS"/users/* "$SECRETS/grafana" "$SECRETS/token" >"$work/passwords"
[ "$(wc -l <"$work/passwords")" -ge 18 ] || fail "there are only $(wc -l <"$work/passwords") passwords"
grep -qF /run/secrets/nats "$work/inspected" || fail "what is looked through says nothing"
! grep -qFf "$work/passwords" "$work/inspected" || fail "a password or token stands in docker inspect, a process list or a log"
step "no password and no token is in docker inspect, a process list or a log"

as() { # as USER WORDS…: the nats program as one of the users
	NATS_USER=$1 NATS_PASSWORD=$(tail -n 1 "$SECRETS/users/$1") "$work/nats" --server "$SPATIALFLOW_NATS" --timeout 2s --inbox-prefix="_INBOX_${1%-?}" "${@:2}"
}
refused() { # refused USER SUBJECT WORDS…: the server says that it is not for that user
	local what='user:'$1'" - (Publish|Subscription) Violation - Subject "'${2//[$.*]/.}'"'
	as "$1" "${@:3}" >/dev/null 2>&1 || true
	# shellcheck disable=SC2016 # for the shell within
	until_ok 10 "$1 may: ${*:3}" bash -c 'docker compose logs --no-log-prefix nats | grep -qE "$0"' "$what"
}
picture=frames.live.detect.depth.street
refused depth-a "$picture" pub "$picture" forged
refused depth-a results.detect.live.0.street pub results.detect.live.0.street forged
refused depth-a 'scenes.>' sub 'scenes.>' --count 1
# shellcheck disable=SC2016 # a subject
for user in depth-a publisher-b monitor-a; do refused "$user" '$JS.API.STREAM.PURGE.SCENES_LIVE' req '$JS.API.STREAM.PURGE.SCENES_LIVE' ''; done
refused publisher-a "$picture" pub "$picture" forged
refused publisher-a 'scenes.>' sub 'scenes.>' --count 1
! "$work/nats" --server "$SPATIALFLOW_NATS" --timeout 2s pub ingest.street '' >/dev/null 2>&1 || fail "who gives no password may publish"
step "at NATS nobody may what is another's"

code() { curl -s -o "$work/said" -w '%{http_code}' "$@"; }
for path in /api/v1/sources /api/v1/sources/street/scene /api/v1/status; do
	[ "$(code "$GATEWAY$path")" = 401 ] || fail "without a token $path says $(code "$GATEWAY$path")"
	[ "$(code -H 'Authorization: Bearer sf_0000000000000000000000000000000000000000000' "$GATEWAY$path")" = 401 ] || fail "with a wrong token $path says $(cat "$work/said")"
	[ "$(code -H "@$work/bearer" "$GATEWAY$path")" = 200 ] || fail "with the token $path says $(cat "$work/said")"
done
[ "$(code -F file=@"$work/picture.jpg" "$GATEWAY/predict")" = 401 ] || fail "without a token a picture is taken: $(cat "$work/said")"
[ "$(code "$GATEWAY/")" = 200 ] || fail "there is no page to ask for the token"
cp "$SECRETS/tokens/tokens.yaml" "$work/tokens.yaml"
echo 'tokens: []' >"$SECRETS/tokens/new" && mv "$SECRETS/tokens/new" "$SECRETS/tokens/tokens.yaml" # as editors do
# shellcheck disable=SC2016 # for the shell within
until_ok 5 "a token that was withdrawn is taken" bash -c '! curl -sf -H "@$0" "$1/api/v1/sources"' "$work/bearer" "$GATEWAY"
cp "$work/tokens.yaml" "$SECRETS/tokens/tokens.yaml"
until_ok 5 "a token that was added is not taken" ask /api/v1/sources
step "at the gateway nobody gets anything without a token"

for name in provision producer detect depth fuser gateway; do # as deploy/compose/prometheus.yml has them
	docker compose exec -T nats wget -q -O - "http://$name:8001/metrics" | grep '^spatialflow_build_info' >/dev/null || fail "$name has no metrics for Prometheus"
done
docker compose exec -T nats wget -q -O - http://nats:8222/jsz | grep '"streams"' >/dev/null || fail "NATS tells its exporter nothing"
step "all have their metrics for Prometheus"

docker compose up -d --no-build --scale detect=2 --wait >/dev/null 2>&1 || fail "--scale detect=2"
workers() { ask /api/v1/status | python3 -c 'import json,sys; sys.exit(0 if [g["workers"] for g in json.load(sys.stdin)["groups"] if g["group"]=="detect"]==['"$1"'] else 1)'; }
until_ok 30 "the second worker of detect does not show" workers 2
step "detect has two workers"

# ---------------------------------------------------------------- kills
stored() { as monitor-a stream subjects SCENES_LOSSLESS "scenes.lossless.*.images-test.kills.*" --json 2>/dev/null | python3 -c '
import json, sys
seqs = sorted(int(s.rsplit(".", 1)[1]) for s, n in json.load(sys.stdin).items() for _ in range(n))
print(len(seqs) if seqs == list(range(1, len(seqs) + 1)) else f"not 1 to {len(seqs)}: {seqs}")' 2>/dev/null || echo 0; }
reached() { local n; n=$(stored); [[ $n =~ ^[0-9]+$ ]] && [ "$n" -ge "$1" ]; }
step "a film of $frames frames, while every container is killed in turn, and all passwords are changed"
SOURCE=/media/images-test.mp4 RUN=kills docker compose up -d --no-build --no-deps producer >/dev/null 2>&1
for service in detect depth fuser gateway producer nats; do
	for container in $(docker compose ps -q "$service"); do
		docker kill "$container" >/dev/null
		docker start "$container" >/dev/null
		step "killed and started: $service, with $(stored) scenes stored"
	done
	sleep 1
	case $service in detect) RENEW='*-a' make -s compose ;; fuser) RENEW='*-b' make -s compose ;; esac
done
[ "$(stored)" != "$frames" ] || fail "the film was over before the last kill: it must be longer"
until_ok 180 "the film does not end: $(stored) of $frames scenes" reached "$frames"
all() { [ "$(stored)" = "$frames" ]; }
until_ok 30 "scenes stored: $(stored), want $frames, each once" all
! grep -qxFf <(tail -qn 1 "$SECRETS"/users/*) "$work/passwords" || fail "a password is still what it was"
step "$frames scenes, each once"

docker compose down -v >/dev/null 2>&1
for what in "ps -aq" "volume ls -q" "network ls -q"; do
	# shellcheck disable=SC2086 # words of a command
	[ -z "$(docker $what --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME)" ] || fail "docker compose down leaves something: docker $what"
done
step "docker compose down left nothing; all passed"
