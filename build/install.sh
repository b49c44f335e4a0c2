#!/bin/sh
# Installs what Spatial-Flow needs and is missing: a C++ compiler, FFmpeg, OpenCV's core, imgproc and imgcodecs,
# libonnxruntime (out of the PyPI wheel, into the user's cache folder), and with "test" also Chromium, shellcheck,
# axe-core and the schema of AsyncAPI. With "onnxruntime" libonnxruntime and its licence only, for the images.
set -eu

ORT_VERSION=1.32.0
case "$(uname -s)-$(uname -m)" in
Linux-x86_64)  platform=manylinux_2_28_x86_64  checksum=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f ;;
Linux-aarch64) platform=manylinux_2_28_aarch64 checksum=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a ;;
*) platform='' checksum='' ;;
esac
cache="${XDG_CACHE_HOME:-$HOME/.cache}/spatial-flow"
library="$cache/libonnxruntime.so.$ORT_VERSION"

AXE_VERSION=4.14.1
axe="axe-core-$AXE_VERSION.min.js"
axe_checksum=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
ASYNCAPI_SPECS_VERSION=6.11.1
asyncapi="asyncapi-3.0.0.json"
asyncapi_checksum=0375812ea00a1a8276fba15616da63065090d6814272ce06c45ef3b081af36aa7f9251941e3940dda01c67d5cc3292c613cccf7980f3db1f4598ee834ae2ab69

packages=
need() { # need PACKAGE FILE-OR-COMMAND: remembers the package when the file or command is not there
	[ -e "$2" ] || command -v "$2" >/dev/null 2>&1 || packages="$packages $1"
}
if [ "${1:-}" != onnxruntime ]; then
	need g++ g++
	need ffmpeg ffmpeg
	for module in core imgproc imgcodecs; do
		need "libopencv-$module-dev" "/usr/include/opencv4/opencv2/$module.hpp"
	done
fi
if { [ ! -e "$library" ] || [ "${1:-}" = test ]; } && ! python3 -m pip --version >/dev/null 2>&1; then
	packages="$packages python3-pip"
fi
if [ "${1:-}" = test ]; then # pip is for the Python examples
	need chromium "${CHROMIUM:-chromium}"
	need shellcheck shellcheck
	{ [ -e "$cache/$axe" ] && [ -e "$cache/$asyncapi" ]; } || need npm npm
fi
if [ -n "$packages" ]; then
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "please install the counterparts of these Debian packages, then try again:$packages" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "missing packages; run as root: apt-get install --no-install-recommends$packages" >&2
		exit 1
	fi
	echo "installing$packages"
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

if [ ! -e "$library" ]; then
	if [ -z "$platform" ]; then
		echo "no libonnxruntime is known for $(uname -s) $(uname -m): install it and set SPATIALFLOW_ONNXRUNTIME to its path" >&2
		exit 1
	fi
	echo "installing libonnxruntime $ORT_VERSION into $cache"
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/install.XXXXXX")
	python3 -m pip download -q --disable-pip-version-check --no-deps --python-version 3.11 --only-binary=:all: \
		--platform "$platform" -d "$work" "onnxruntime==$ORT_VERSION"
	python3 -m zipfile -e "$work"/onnxruntime-*.whl "$work"
	extracted="$work/onnxruntime/capi/libonnxruntime.so.$ORT_VERSION"
	if [ "$(sha256sum "$extracted" | cut -d' ' -f1)" != "$checksum" ]; then
		echo "libonnxruntime $ORT_VERSION out of the wheel has the wrong checksum; nothing was installed" >&2
		exit 1
	fi
	mkdir -p "$cache/onnxruntime"
	mv "$work/onnxruntime/LICENSE" "$work/onnxruntime/ThirdPartyNotices.txt" "$cache/onnxruntime/"
	mv "$extracted" "$library"
	rm -rf "$work"
fi

# from_npm NAME PACKAGE@VERSION SHA512 MEMBER: one file out of a package of the npm registry, into the cache folder.
# npm's own client fetches it, so that the registry and the proxy of whoever builds are used; nothing of it is run.
from_npm() {
	[ ! -e "$cache/$1" ] || return 0
	echo "installing $1 into $cache"
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/install.XXXXXX")
	npm pack --loglevel error --ignore-scripts --pack-destination "$work" "$2" >/dev/null
	if [ "$(sha512sum "$work"/*.tgz | cut -d' ' -f1)" != "$3" ]; then
		echo "$2 out of the npm registry has the wrong checksum; nothing was installed" >&2
		exit 1
	fi
	tar -xzf "$work"/*.tgz -C "$work" "$4"
	mv "$work/$4" "$cache/$1"
	rm -rf "$work"
}
if [ "${1:-}" = test ]; then
	from_npm "$axe" "axe-core@$AXE_VERSION" "$axe_checksum" package/axe.min.js
	from_npm "$asyncapi" "@asyncapi/specs@$ASYNCAPI_SPECS_VERSION" "$asyncapi_checksum" \
		"package/schemas/3.0.0-without-\$id.json"
fi
