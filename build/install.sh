#!/bin/sh
# Installs what Spatial-Flow needs and is missing: a C++ compiler, FFmpeg, OpenCV's core, imgproc and imgcodecs,
# libonnxruntime (out of the PyPI wheel, into the user's cache folder), and with "test" also Chromium, shellcheck,
# and what build/pins/npm.txt lists. With "onnxruntime" libonnxruntime and its licence only, for the images.
# Versions and hashes: build/pins.
set -eu

here=$(dirname "$0")
pins=$here/pins
cache="${XDG_CACHE_HOME:-$HOME/.cache}/spatial-flow"
ORT_VERSION=$(sed -n 's/^onnxruntime==\([^ ]*\).*/\1/p' "$pins/pip.txt")
case "$(uname -s)-$(uname -m)" in
Linux-x86_64)  platform=manylinux_2_28_x86_64 ;;
Linux-aarch64) platform=manylinux_2_28_aarch64 ;;
*) platform='' ;;
esac
library="$cache/libonnxruntime.so.$ORT_VERSION"

from_npm() { grep -v '^#' "$pins/npm.txt"; } # NAME PACKAGE VERSION SHA512 FILE...
missing_from_npm() { from_npm | while read -r name _ version _; do [ -e "$cache/$name-$version" ] || echo "$name"; done; }

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
	[ -z "$(missing_from_npm)" ] || need npm npm
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
	"$here/pip.sh" onnxruntime >"$work/requirements.txt"
	python3 -m pip download -q --disable-pip-version-check --no-deps --python-version 3.11 --only-binary=:all: --require-hashes \
		--platform "$platform" -d "$work" -r "$work/requirements.txt"
	python3 -m zipfile -e "$work"/onnxruntime-*.whl "$work"
	extracted="$work/onnxruntime/capi/libonnxruntime.so.$ORT_VERSION"
	mkdir -p "$cache/onnxruntime"
	mv "$work/onnxruntime/LICENSE" "$work/onnxruntime/ThirdPartyNotices.txt" "$cache/onnxruntime/"
	mv "$extracted" "$library"
	rm -rf "$work"
fi

# npm's own client fetches them, so that the registry and the proxy of whoever builds are used; nothing of it is run.
if [ "${1:-}" = test ]; then
	from_npm | while read -r name package version checksum files; do
		if [ ! -e "$cache/$name-$version" ]; then
			echo "installing $package $version into $cache"
			mkdir -p "$cache"
			work=$(mktemp -d "$cache/install.XXXXXX")
			trap 'rm -rf "$work"' EXIT
			npm pack --loglevel error --ignore-scripts --pack-destination "$work" "$package@$version" >/dev/null
			if [ "$(sha512sum "$work"/*.tgz | cut -d' ' -f1)" != "$checksum" ]; then
				echo "$package $version out of the npm registry has the wrong checksum; nothing was installed" >&2
				exit 1
			fi
			mkdir "$work/files"
			for file in $files; do
				tar -xzf "$work"/*.tgz -C "$work" "$file"
				mv "$work/$file" "$work/files/"
			done
			mv "$work/files" "$cache/$name-$version"
			rm -rf "$work"
		fi
		ln -sfn "$name-$version" "$cache/$name" # tests know no version
	done
fi
