#!/bin/sh
# Builds the three OpenCV modules that are linked, for the images, out of Debian's source package: opencv.sh SOURCE OUT
#
# imgcodecs reads JPEG, PNG, WebP and BMP. Debian's own build of the same modules needs GDAL and with it some 250 packages.
set -eu
source=$1 out=$2

# Debian's flags harden what reads files of strangers.
export DEB_BUILD_MAINT_OPTIONS=hardening=+all

CFLAGS=$(dpkg-buildflags --get CFLAGS) CXXFLAGS=$(dpkg-buildflags --get CXXFLAGS)
CPPFLAGS=$(dpkg-buildflags --get CPPFLAGS) LDFLAGS=$(dpkg-buildflags --get LDFLAGS)
export CFLAGS="$CFLAGS $CPPFLAGS" CXXFLAGS="$CXXFLAGS $CPPFLAGS" LDFLAGS

cmake -S "$source" -B "$source/release" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr/local \
	-DBUILD_LIST=core,imgproc,imgcodecs -DBUILD_SHARED_LIBS=ON -DCMAKE_SKIP_RPATH=ON \
	-DWITH_FFMPEG=OFF -DWITH_V4L=OFF -DWITH_GSTREAMER=OFF -DWITH_1394=OFF \
	-DWITH_JPEG=ON -DWITH_PNG=ON -DWITH_WEBP=ON -DBUILD_JPEG=OFF -DBUILD_PNG=OFF -DBUILD_WEBP=OFF -DBUILD_ZLIB=OFF \
	-DWITH_TIFF=OFF -DWITH_OPENEXR=OFF -DWITH_JASPER=OFF -DWITH_OPENJPEG=OFF -DWITH_GDAL=OFF -DWITH_GDCM=OFF \
	-DWITH_IMGCODEC_HDR=OFF -DWITH_IMGCODEC_PFM=OFF -DWITH_IMGCODEC_PXM=OFF -DWITH_IMGCODEC_SUNRASTER=OFF \
	-DWITH_GTK=OFF -DWITH_QT=OFF -DWITH_OPENCL=OFF -DWITH_OPENGL=OFF -DWITH_IPP=OFF -DWITH_ITT=OFF -DWITH_TBB=OFF \
	-DWITH_OPENMP=OFF -DWITH_LAPACK=OFF -DWITH_EIGEN=OFF -DWITH_PROTOBUF=OFF -DWITH_ADE=OFF -DWITH_QUIRC=OFF \
	-DWITH_VA=OFF -DWITH_VA_INTEL=OFF -DWITH_CUDA=OFF -DWITH_VULKAN=OFF -DWITH_CAROTENE=OFF \
	-DBUILD_TESTS=OFF -DBUILD_PERF_TESTS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_DOCS=OFF -DBUILD_JAVA=OFF \
	-DBUILD_opencv_apps=OFF -DBUILD_opencv_python2=OFF -DBUILD_opencv_python3=OFF \
	-DOPENCV_GENERATE_PKGCONFIG=OFF -DENABLE_PRECOMPILED_HEADERS=OFF -DCV_TRACE=OFF
for codec in JPEG PNG WEBP; do # cmake goes on without what it does not find
	grep -q "define HAVE_$codec\$" "$source/release/cvconfig.h" || grep -q "HAVE_$codec=\(1\|TRUE\|ON\)" "$source/release/CMakeVars.txt" || { echo "OpenCV found no $codec" >&2; exit 1; }
done
cmake --build "$source/release" --parallel "$(nproc)"
DESTDIR="$out" cmake --install "$source/release" --strip
install -D -m 644 "$source/LICENSE" "$out/usr/local/share/doc/opencv/LICENSE"
