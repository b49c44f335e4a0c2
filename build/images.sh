#!/bin/sh
# Builds or pushes the images: images.sh build|push
#
# Read from the environment; make images and make push set them:
#   IMAGES       which of static vision vision-cuda standalone; all of them when it is not set
#   VERSION      their tag
#   REGISTRY     registry and folder that come before their names; push needs it
#   DOCKERFLAGS  further words for docker build, as --build-arg GOPROXY=… or --platform linux/arm64
set -eu
cd "$(dirname "$0")/.."

images=${IMAGES:-static vision vision-cuda standalone}
name() { echo "${REGISTRY:+${REGISTRY%/}/}spatial-flow-$1:$VERSION"; }

if [ -z "${VERSION:-}" ]; then
	echo "images.sh: no VERSION: charts/spatial-flow/Chart.yaml has no appVersion" >&2
	exit 2
fi
for image in $images; do
	case $image in
	static | vision | vision-cuda | standalone) ;;
	*) echo "images.sh: there is no image $image, only static, vision, vision-cuda and standalone" >&2; exit 2 ;;
	esac
done

case ${1:-} in
build)
	revision=$(git rev-parse HEAD 2>/dev/null) || revision=
	if [ -n "$revision" ] && [ -n "$(git status --porcelain)" ]; then revision=$revision-dirty; fi
	created=$(git log -1 --format=%cI 2>/dev/null) || created= # of the commit, so that the same makes the same
	for image in $images; do
		began=$(date +%s)
		# shellcheck disable=SC2086 # a list of words
		DOCKER_BUILDKIT=1 docker build --target "$image" --tag "$(name "$image")" --build-arg "VERSION=$VERSION" \
			--build-arg "REVISION=$revision" ${created:+--label "org.opencontainers.image.created=$created"} \
			${DOCKERFLAGS:-} .
		printf '%s %s, %d s\n' "$(name "$image")" "$(docker image inspect --format '{{.Size}}' "$(name "$image")" |
			awk '{printf "%.0f MB", $1 / 1e6}')" "$(($(date +%s) - began))"
	done
	;;
push)
	if [ -z "${REGISTRY:-}" ]; then
		echo "images.sh: push where? REGISTRY=registry.example.com/folder" >&2
		exit 2
	fi
	for image in $images; do docker push "$(name "$image")"; done
	;;
*)
	echo "images.sh build|push" >&2
	exit 2
	;;
esac
