#!/usr/bin/env bash
# Makes passwords and a token, starts docker-compose.yml, and says where to look. What is given (SOURCE=… and the other settings in
# docker-compose.yml's first comment; WATCHED=1: Prometheus and Grafana too; GPU=1: workers on an NVIDIA GPU instead of CPUs; 0 takes
# either back) is kept in .env, so that a plain `docker compose …` afterwards means the same.
#
# They are in ./secrets, which nobody else on this machine can enter, and those that are there stay:
#   users/   of each role at NATS its two users, as detect-a and detect-b, each a file of user and password
#   roles/   of each service the one of the two that it is; mounted into its containers alone
#   nats/    the configuration of the server, which has hashes of them; mounted into its container
#   token    what a person shows the gateway; tokens/ is what the gateway knows of it and of others, mounted into its container
# RENEW='*-a', and then RENEW='*-b', gives all users new ones while everything runs, and does nothing else: services go over to the
# other user first.
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

umask 077
touch .env
chmod 600 .env
# Detection and depth get half of the machine each; Docker refuses a container more CPUs than there are.
cpus=$(($(getconf _NPROCESSORS_ONLN) / 2))
has WORKER_CPUS || put WORKER_CPUS "$((cpus > 0 ? cpus : 1))"
for name in SOURCE SOURCE_FILE RUN DETECT_MODEL DEPTH_MODEL CPU_WORKERS WORKER_CPUS PROVIDER HTTP_PORT NATS_PORT NATS_MAX_FILE \
	WORKER_GROUPS ANONYMOUS SECRETS; do
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

# ---------------------------------------------------------------- passwords and tokens
SECRETS=$(get SECRETS)
case ${SECRETS:=./secrets} in /* | ./* | ../*) ;; *) SECRETS=./$SECRETS ;; esac
[ "$SECRETS" = "$(get SECRETS)" ] || put SECRETS "$SECRETS"
mkdir -p "$SECRETS/users" "$SECRETS/roles" "$SECRETS/nats" "$SECRETS/tokens"
chmod 700 "$SECRETS" "$SECRETS/users" # what is in there and mounted may be read by all, as the services' user must; nobody else comes so far
chmod 755 "$SECRETS/roles" "$SECRETS/nats" "$SECRETS/tokens"
place() { # FILE AS: into the file that is there, which containers have mounted, not in its place
	cmp -s "$1" "$2" || cat "$1" >"$2"
	chmod 644 "$2"
}

if [ ! -e "$SECRETS/grafana" ]; then # who has started Grafana before has a password in .env, and Grafana keeps it
	grafana=$(get GRAFANA_PASSWORD)
	printf '%s\n' "${grafana:-$(od -An -vN24 -tx1 /dev/urandom | tr -d ' \n')}" >"$SECRETS/grafana"
fi
chmod 644 "$SECRETS/grafana"
if grep -qE '^(export )?(NATS_[A-Z]+_PASSWORD|GRAFANA_PASSWORD)=' .env; then
	grep -vE '^(export )?(NATS_[A-Z]+_PASSWORD|GRAFANA_PASSWORD)=' .env >.env.new || true
	mv .env.new .env
	echo "compose: passwords are in $SECRETS now, and new: removed those of .env (NATS_*_PASSWORD; GRAFANA_PASSWORD has moved)"
fi

if [ ! -e "$SECRETS/tokens/tokens.yaml" ]; then
	token=sf_$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')
	printf '%s\n' "$token" >"$SECRETS/token"
	cat >"$SECRETS/tokens/tokens.yaml" <<END
# Who may ask the gateway, which reads this again when it changes. Hashes: the first one's token is in ../token.
# spatialflow token new makes another token, and its entry.
tokens:
  - name: owner
    sha256: $(printf %s "$token" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1)
    sources: ["*"]
    may: [view, predict, status]
END
fi
chmod 644 "$SECRETS/tokens/tokens.yaml"

# As build/images.sh says it, so that what make images has built is not built again.
REVISION=$(git rev-parse HEAD 2>/dev/null || true)
if [ -n "$REVISION" ] && [ -n "$(git status --porcelain)" ]; then REVISION=$REVISION-dirty; fi
export REVISION
image=$(docker compose config --images provision | grep spatial-flow-static)
if [ -z "${RENEW:-}" ] || ! docker image inspect "$image" >/dev/null 2>&1; then docker compose build provision; fi # it has nats-config

groups=$(get WORKER_GROUPS)
IFS=, read -ra roles <<<"provisioner,producer,${groups:=detect,depth},fuser,gateway"
IFS=, read -ra renew <<<"${RENEW:-}"
renewed() {
	local pattern
	# shellcheck disable=SC2053 # a pattern
	for pattern in ${renew[@]+"${renew[@]}"}; do [[ $1 != $pattern ]] || return 0; done
	return 1
}
# Which of its users a service is: while one gets a new password, the other.
users=()
for role in "${roles[@]}"; do
	user=$(head -n 1 "$SECRETS/roles/$role" 2>/dev/null || true)
	case $user in
	"$role-a") other=$role-b ;;
	"$role-b") other=$role-a ;;
	*) user=$role-a other=$role-b ;;
	esac
	if renewed "$user" && ! renewed "$other" && [ -e "$SECRETS/users/$other" ]; then
		user=$other
		place "$SECRETS/users/$user" "$SECRETS/roles/$role"
	fi
	users+=("$user")
done

# Whoever the folder belongs to: root in the container may not write to what is another's.
# shellcheck disable=SC2012 # stat is not the same everywhere
owner=$(ls -nd "$SECRETS/users" | awk '{print $3 ":" $4}')
[[ $(docker info -f '{{.SecurityOptions}}' 2>/dev/null) != *rootless* ]] || owner=0:0 # that is who runs it
folder=$(cd "$SECRETS" && pwd)
known=$(cat "$SECRETS"/nats/* 2>/dev/null || true)
said=$(docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges --userns host --user "$owner" \
	--mount "type=bind,source=$folder/users,target=/users" --mount "type=bind,source=$folder/nats,target=/nats" "$image" \
	nats-config --users /users --users-file /nats/users.conf --output /nats/nats-server.conf ${RENEW:+--renew "$RENEW"} \
	--name nats --group "$groups" --publisher 'publisher=*' --listen 0.0.0.0:4222 --monitoring 0.0.0.0:8222 \
	--store-dir /var/tmp/jetstream --max-file "$(get NATS_MAX_FILE | grep . || echo 20GB)" --max-memory 256MB 2>&1) || fail "nats-config: $said"
made=$(sed -n 's,^made: /users/,,p' <<<"$said" | tr '\n' ' ')
if [ -n "${RENEW:-}" ]; then echo "compose: new passwords: ${made:-none, for no user has such a name}"; fi
chmod 644 "$SECRETS"/nats/*
for i in "${!roles[@]}"; do place "$SECRETS/users/${users[i]}" "$SECRETS/roles/${roles[i]}"; done
# A server that runs is told. Where it sees other files, because somebody has removed the folder, or as one of an older version, all
# containers are made anew.
anew=
if [ -n "$(docker compose ps -q --status running nats)" ]; then
	if [ "$(docker compose exec -T nats cat /etc/nats/users.conf 2>/dev/null)" != "$(cat "$SECRETS/nats/users.conf")" ]; then
		anew=1
	elif [ "$known" != "$(cat "$SECRETS"/nats/*)" ]; then
		docker compose kill -s HUP nats
	fi
fi
[ -z "${RENEW:-}" ] || [ -n "$anew" ] || exit 0
umask 022
mkdir -p media models # else the engine makes them, and they are root's
docker compose up -d --build --wait ${anew:+--force-recreate}

at() { docker compose port "$1" "$2" 2>/dev/null || true; }
gateway=$(at gateway 8000) nats=$(at nats 4222) grafana=$(at grafana 3000)
cat <<END

The viewer   http://$gateway
Its status   http://$gateway/status
Who may      $(get ANONYMOUS | sed -n 's/^..*$/everybody: &; more: /p')those with a token. The page asks for it, programs send it (Authorization: Bearer …).
             One is in $SECRETS/token; who has which: $SECRETS/tokens/tokens.yaml
Publish      NATS_USER=publisher-a NATS_PASSWORD=\$(tail -n 1 $SECRETS/users/publisher-a) nats --server nats://$nats \\
             --inbox-prefix=_INBOX_publisher req --no-templates --force-stdin ingest.cam1 <picture.jpg
END
if [ -n "$grafana" ]; then
	echo "Grafana      http://$grafana (to change things: admin, whose first password is in $SECRETS/grafana)"
	echo "Prometheus   http://$(at prometheus 9090)"
fi
echo "And then     docker compose ps, docker compose logs -f, docker compose --profile '*' down"
