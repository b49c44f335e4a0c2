#!/bin/sh
# Builds FFmpeg's libraries for the images out of Debian's source package: ffmpeg.sh SOURCE OUT
#
# Only what reads a film or a camera, and what writes the videos of `watch --out`. Everything is FFmpeg's own code, but
# for AV1 (libdav1d), TLS (OpenSSL) and zlib. No part under the GPL: the libraries are LGPL-2.1-or-later.
# Debian's own three libraries need 109 further packages, 217 MB (bookworm, measured): the image would be over its 300 MB.
#
# FFMPEG_PROGRAMS=1 builds the programs ffmpeg and ffprobe too.
set -eu
source=$1 out=$2

# Films as people have them, old and new ones, and the pictures that a film or a camera is made of.
decoders=h264,hevc,libdav1d,vp8,vp9,vp7,vp6,vp6a,vp6f,vp5,vp3,theora
decoders=$decoders,mpeg1video,mpeg2video,mpegvideo,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4v3,h261,h263,h263i,h263p,flv
decoders=$decoders,wmv1,wmv2,wmv3,vc1,rv10,rv20,rv30,rv40,svq1,svq3,cinepak,indeo2,indeo3,indeo4,indeo5,cavs
decoders=$decoders,mjpeg,mjpegb,jpegls,jpeg2000,png,apng,gif,bmp,webp,tiff
decoders=$decoders,prores,dnxhd,cfhd,dvvideo,ffv1,ffvhuff,huffyuv,utvideo,magicyuv,hap,rawvideo,v210,v410,r210,yuv4
decoders=$decoders,qtrle,rpza,smc,msrle,msvideo1,zmbv,flashsv,flashsv2,screenpresso,tscc,tscc2,g2m,fraps,lagarith

demuxers=mov,matroska,avi,mpegts,mpegps,mpegvideo,flv,live_flv,asf,ogg,rm,ivf,nut,mxf,gxf,dv,swf,mpjpeg,mjpeg
demuxers=$demuxers,h261,h263,h264,hevc,m4v,vc1,av1,obu,cavsvideo,yuv4mpegpipe,rawvideo
demuxers=$demuxers,rtsp,rtp,sdp,hls,gif,apng,image2,image2pipe
demuxers=$demuxers,image_jpeg_pipe,image_png_pipe,image_webp_pipe,image_bmp_pipe,image_tiff_pipe

# What the product may open are files, rtsp, rtsps, http and https; the others are what those are made of.
protocols=file,pipe,http,https,httpproxy,tcp,udp,rtp,srtp,tls,crypto,data

# standalone/drawing writes MPEG-4 into .mp4 and motion JPEG into .avi.
encoders=mpeg4,mjpeg
muxers=mp4,mov,avi

if [ -n "${FFMPEG_PROGRAMS:-}" ]; then
	programs="--enable-ffmpeg --enable-ffprobe --enable-avfilter --enable-filter=scale,fps,transpose,hflip,vflip,rotate,crop,format,null,trim,setpts
		--enable-encoder=rawvideo,png --enable-muxer=rawvideo,image2pipe,mjpeg,null"
else
	programs="--disable-programs --disable-avfilter"
fi

cd "$source"
# shellcheck disable=SC2086 # words
./configure --prefix=/usr/local --toolchain=hardened --enable-shared --disable-static --enable-pic --disable-debug --disable-doc \
	--disable-autodetect --disable-everything --disable-avdevice --disable-swresample --enable-network \
	--enable-zlib --enable-libdav1d --enable-openssl \
	--enable-decoder="$decoders" --enable-demuxer="$demuxers" --enable-protocol="$protocols" \
	--enable-encoder="$encoders" --enable-muxer="$muxers" --enable-parsers --enable-bsfs $programs
make -j"$(nproc)"
make install DESTDIR="$out"
install -D -m 644 LICENSE.md "$out/usr/local/share/doc/ffmpeg/LICENSE.md"
install -D -m 644 COPYING.LGPLv2.1 "$out/usr/local/share/doc/ffmpeg/COPYING.LGPLv2.1"
