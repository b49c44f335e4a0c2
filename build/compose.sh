#!/usr/bin/env bash
# Writes .env, above all random passwords, starts docker-compose.yml, and says where to look. Passwords that are there
# stay. What is given (SOURCE=… and the other settings in docker-compose.yml's first comment; WATCHED=1: Prometheus and
# Grafana too; GPU=1: workers on an NVIDIA GPU instead of CPUs; 0 takes either back) is kept in .env, so that a plain `docker compose …`
# afterwards means the same.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "compose: $*" >&2; exit 1; }
docker compose version >/dev/null 2>&1 || fail "docker with its compose plugin is needed (docker compose version)"

# Containers see ./media and ./models, and nothing else of this machine.
for name in SOURCE SOURCE_FILE DETECT_MODEL DEPTH_MODEL; do
	value=${!name:-}
	folder=$([[ $name == *MODEL ]] && echo models || echo media)
	if [ -e "$value" ] && [[ $value != /$folder/* && $value != /dev/* ]]; then
		fail "$name: put $value into ./$folder, and call it /$folder/$(basename "$value")"
	fi
done

has() { grep -qE "^(export )?$1=" .env; }
get() { sed -nE "s/^(export )?$1=['\"]?([^'\"]*).*/\2/p" .env | tail -1; }
put() { # KEY VALUE: in place of the line that is there, or as a new one
	case $2 in *[\'$'\n']*) fail "$1: no quotes or line ends, please: write .env by hand" ;; esac
	local rest
	rest=$(grep -vE "^(export )?$1=" .env || true)
	printf '%s\n' ${rest:+"$rest"} "$1='$2'" >.env.new
	mv .env.new .env
}
# 192 random bits. They begin with a letter: NATS may read what begins with a digit as a number.
password() { printf 'p%s' "$(od -An -vN24 -tx1 /dev/urandom | tr -d ' \n')"; }

umask 077
touch .env
chmod 600 .env
for user in PROVISIONER PRODUCER WORKER FUSER GATEWAY PUBLISHER MONITOR; do
	has "NATS_${user}_PASSWORD" || put "NATS_${user}_PASSWORD" "$(password)"
done
has GRAFANA_PASSWORD || put GRAFANA_PASSWORD "$(password)"
# Detection and depth get half of the machine each; Docker refuses a container more CPUs than there are.
cpus=$(($(getconf _NPROCESSORS_ONLN) / 2))
has WORKER_CPUS || put WORKER_CPUS "$((cpus > 0 ? cpus : 1))"
for name in SOURCE SOURCE_FILE RUN DETECT_MODEL DEPTH_MODEL CPU_WORKERS WORKER_CPUS PROVIDER HTTP_PORT NATS_PORT; do
	[ -z "${!name+given}" ] || put "$name" "${!name}"
done
# GPU and WATCHED take a profile in, or with 0 out again; not given, what is there stays.
before=$(get COMPOSE_PROFILES) profiles=
for profile in ${before//,/ } ${GPU:+gpu} ${WATCHED:+watched}; do
	[ "$profile" != gpu ] || [ "${GPU-1}" != 0 ] || continue
	[ "$profile" != watched ] || [ "${WATCHED-1}" != 0 ] || continue
	[[ ,$profiles, == *,$profile,* ]] || profiles=${profiles:+$profiles,}$profile
done
if [ "${GPU:-0}" != 0 ]; then put CPU_WORKERS 0; fi
if [ "${GPU-1}" = 0 ] && [ "$(get CPU_WORKERS)" = 0 ]; then put CPU_WORKERS 1; fi
[ "$profiles" = "$before" ] || put COMPOSE_PROFILES "$profiles"
umask 022
mkdir -p media models # else the engine makes them, and they are root's

# As build/images.sh says it, so that what make images has built is not built again.
REVISION=$(git rev-parse HEAD 2>/dev/null || true)
if [ -n "$REVISION" ] && [ -n "$(git status --porcelain)" ]; then REVISION=$REVISION-dirty; fi
export REVISION
docker compose up -d --build --wait

at() { docker compose port "$1" "$2" 2>/dev/null || true; }
gateway=$(at gateway 8000) nats=$(at nats 4222) grafana=$(at grafana 3000)
cat <<END

The viewer   http://$gateway
Its status   http://$gateway/status
Publish      nats pub --no-templates --server nats://$nats --user publisher --password … ingest.cam1 <picture.jpg
             (NATS_PUBLISHER_PASSWORD in .env)
END
if [ -n "$grafana" ]; then
	echo "Grafana      http://$grafana (to change things: admin, GRAFANA_PASSWORD in .env)"
	echo "Prometheus   http://$(at prometheus 9090)"
fi
echo "And then     docker compose ps, docker compose logs -f, docker compose --profile '*' down"
