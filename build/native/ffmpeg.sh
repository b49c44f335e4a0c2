#!/bin/sh
# Builds the programs ffmpeg and ffprobe for the images out of Debian's source package: ffmpeg.sh SOURCE OUT
#
# Only what reads a film, a device or the coded pictures of a camera, and what writes the videos of `watch --out`. Nothing
# of the network: RTSP and HTTP are spoken in Go, and ffmpeg gets a file or a pipe. Everything is FFmpeg's own code, but for
# AV1 (libdav1d) and zlib. No part under the GPL: the programs are LGPL-2.1-or-later.
# Debian's own package needs 110 further ones, 217 MB (bookworm, measured): the image would be over its 300 MB.
set -eu
source=$1 out=$2

# Films as people have them, old and new ones, and the pictures that a film or a camera is made of.
decoders=h264,hevc,libdav1d,av1,vp8,vp9,vp7,vp6,vp6a,vp6f,vp5,vp3,theora
decoders=$decoders,mpeg1video,mpeg2video,mpegvideo,mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4v3,h261,h263,h263i,h263p,flv
decoders=$decoders,wmv1,wmv2,wmv3,vc1,rv10,rv20,rv30,rv40,svq1,svq3,cinepak,indeo2,indeo3,indeo4,indeo5,cavs
decoders=$decoders,mjpeg,mjpegb,jpegls,jpeg2000,png,apng,gif,bmp,webp,tiff
decoders=$decoders,prores,dnxhd,cfhd,dvvideo,ffv1,ffvhuff,huffyuv,utvideo,magicyuv,hap,rawvideo,v210,v410,r210,yuv4
decoders=$decoders,qtrle,rpza,smc,msrle,msvideo1,zmbv,flashsv,flashsv2,screenpresso,tscc,tscc2,g2m,fraps,lagarith

# Of files that hold a film themselves: a list that names others (hls, concat, sdp) is none.
demuxers=mov,matroska,avi,mpegts,mpegtsraw,mpegps,mpegvideo,flv,live_flv,asf,asf_o,ogg,rm,ivf,nut,mxf,gxf,dv,mpjpeg,mjpeg,wtv,nsv
demuxers=$demuxers,h264,hevc,m4v,vc1,av1,obu,yuv4mpegpipe,rawvideo,gif,apng

filters=scale,format,pad,bwdif,colorspace,setsar,select,setpts,fps,transpose,hflip,vflip,rotate,crop,null,trim

# Decoding on NVIDIA's GPUs (--decode-args='-hwaccel cuda') loads the driver's library when it is asked for. Not run yet.
nvdec=
if pkg-config --exists ffnvcodec; then
	nvdec='--enable-ffnvcodec --enable-nvdec --enable-cuvid
		--enable-hwaccel=h264_nvdec,hevc_nvdec,av1_nvdec,vp8_nvdec,vp9_nvdec,mpeg2_nvdec,mpeg4_nvdec,vc1_nvdec,mjpeg_nvdec'
fi

cd "$source"
# shellcheck disable=SC2086 # words
./configure --prefix=/usr/local --toolchain=hardened --enable-static --disable-shared --enable-pic --disable-debug --disable-doc \
	--disable-autodetect --disable-everything --disable-network --disable-ffplay --enable-ffmpeg --enable-ffprobe \
	--enable-zlib --enable-libdav1d $nvdec \
	--enable-decoder="$decoders" --enable-demuxer="$demuxers" --enable-filter="$filters" --enable-protocol=file,pipe \
	--enable-indev=v4l2 --enable-encoder=rawvideo,wrapped_avframe,mpeg4,mjpeg,png \
	--enable-muxer=nut,rawvideo,null,mp4,mov,avi,matroska,mpegts,image2pipe --enable-parsers --enable-bsfs
make -j"$(nproc)" ffmpeg ffprobe
install -D -m 755 -s -t "$out/usr/local/bin" ffmpeg ffprobe
install -D -m 644 LICENSE.md "$out/usr/local/share/doc/ffmpeg/LICENSE.md"
install -D -m 644 COPYING.LGPLv2.1 "$out/usr/local/share/doc/ffmpeg/COPYING.LGPLv2.1"
