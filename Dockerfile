# The images: static (fuser, gateway, nats-config, provision, smoke), vision (producer, worker), vision-cuda and standalone (spatialflow).
# `make images` builds them; one of them: docker build --target vision .
#
# What is compiled, slowest and most rarely changed first: FFmpeg and OpenCV (build/native), then Go.
# Behind a proxy: the usual --build-arg HTTP_PROXY=… HTTPS_PROXY=… NO_PROXY=…, GOPROXY, GOSUMDB, PIP_INDEX_URL, and
# APT_MIRROR=https://host/prefix, which takes the place of https://host in Debian's sources. Certificates in build/ca are
# trusted while building. DEBIAN_IMAGE must be a Debian 12, GO_IMAGE one with Go in /usr/local/go.
# linux/arm64: static is cross-compiled; vision and standalone have not been built for it; vision-cuda is amd64 alone.
# Debian's packages are not pinned one by one: the release and its signatures are.
ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG GO_IMAGE=golang:1.26-bookworm

# ---------------------------------------------------------------- what the other stages begin with
FROM ${DEBIAN_IMAGE} AS base
SHELL ["/bin/sh", "-eu", "-c"]
ARG APT_MIRROR=
COPY build/ca/ /usr/local/share/ca-certificates/
# The certificates count before the package ca-certificates is there: the mirror may need them.
RUN mkdir -p /etc/ssl/certs; \
    for file in /usr/local/share/ca-certificates/*.crt; do \
      [ ! -e "$file" ] || { cat "$file"; echo; } >>/etc/ssl/certs/ca-certificates.crt; \
    done; \
    if [ -n "$APT_MIRROR" ]; then \
      for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do \
        [ ! -e "$file" ] || sed -i -E "s#https?://[^/[:space:]]+#${APT_MIRROR%/}#" "$file"; \
      done; \
    fi; \
    apt-get update; \
    apt-get install -y --no-install-recommends ca-certificates; \
    rm -rf /var/lib/apt/lists/*

# ---------------------------------------------------------------- FFmpeg and OpenCV, out of Debian's sources
FROM base AS sources
WORKDIR /src
RUN for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do \
      case $file in \
      *.sources) sed -i 's/^Types: deb *$/Types: deb deb-src/' "$file" ;; \
      *) [ ! -e "$file" ] || sed -i 's/^deb \(.*\)/&\ndeb-src \1/' "$file" ;; \
      esac; \
    done; \
    apt-get update; \
    apt-get install -y --no-install-recommends cmake dpkg-dev g++ libdav1d-dev libffmpeg-nvenc-dev libjpeg62-turbo-dev libpng-dev \
      libwebp-dev make nasm ninja-build pkg-config zlib1g-dev; \
    apt-get source --download-only ffmpeg opencv; \
    rm -rf /var/lib/apt/lists/*

FROM sources AS ffmpeg
COPY build/native/ffmpeg.sh ./
RUN dpkg-source -x ffmpeg_*.dsc source; \
    ./ffmpeg.sh source /out; \
    rm -rf source

FROM sources AS opencv
COPY build/native/opencv.sh ./
RUN dpkg-source -x opencv_*.dsc source; \
    ./opencv.sh source /out; \
    rm -rf source

# What of both is needed to run.
FROM base AS native
COPY --from=ffmpeg /out/ /built/
COPY --from=opencv /out/ /built/
RUN mkdir -p /out/usr/local/lib /out/usr/local/share; \
    cp -a /built/usr/local/bin /out/usr/local/; \
    cp -a /built/usr/local/lib/*.so.* /out/usr/local/lib/; \
    cp -a /built/usr/local/share/doc /built/usr/local/share/licenses /out/usr/local/share/

# ---------------------------------------------------------------- ONNX Runtime, CUDA, cuDNN, out of wheels
FROM base AS wheels
RUN apt-get update; \
    apt-get install -y --no-install-recommends python3-pip; \
    rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt
ARG PIP_INDEX_URL

FROM wheels AS onnxruntime
WORKDIR /src
COPY build/install.sh build/pip.sh ./
COPY build/pins/ pins/
RUN XDG_CACHE_HOME=/src ./install.sh onnxruntime; \
    mkdir -p /out/usr/local/lib /out/usr/local/share/doc; \
    mv spatial-flow/libonnxruntime.so.* /out/usr/local/lib/; \
    ln -s "$(basename /out/usr/local/lib/libonnxruntime.so.*)" /out/usr/local/lib/libonnxruntime.so; \
    mv spatial-flow/onnxruntime /out/usr/local/share/doc/

FROM wheels AS cuda
WORKDIR /src
COPY build/pip.sh ./
COPY build/pins/ pins/
# TensorRT is not on PyPI: TENSORRT_INDEX_URL names the index of its makers, or a mirror of that.
ARG TENSORRT_INDEX_URL=
RUN ./pip.sh cuda >requirements.txt; \
    ./pip.sh tensorrt >tensorrt.txt; \
    python3 -m pip install -q --no-deps --require-hashes --only-binary=:all: --target wheels -r requirements.txt; \
    if [ -n "$TENSORRT_INDEX_URL" ]; then \
      python3 -m pip install -q --no-deps --only-binary=:all: --index-url "$TENSORRT_INDEX_URL" --target wheels -r tensorrt.txt; \
    fi; \
    lib=/out/usr/local/lib doc=/out/usr/local/share/doc; \
    mkdir -p "$lib/nvidia" "$doc"; \
    rm -f wheels/nvidia/*/lib/*.alt.so.* wheels/nvidia/*/lib/libnvblas.* wheels/nvidia/*/lib/libcufftw.*; \
    mv wheels/nvidia/*/lib/*.so.* "$lib/nvidia/"; \
    mv wheels/onnxruntime/capi/libonnxruntime*.so* "$lib/"; \
    ln -s "$(basename "$lib"/libonnxruntime.so.*)" "$lib/libonnxruntime.so"; \
    if [ -d wheels/tensorrt_libs ]; then mv wheels/tensorrt_libs/*.so.* "$lib/nvidia/"; else rm "$lib/libonnxruntime_providers_tensorrt.so"; fi; \
    mkdir "$doc/onnxruntime"; \
    mv wheels/onnxruntime/LICENSE wheels/onnxruntime/ThirdPartyNotices.txt "$doc/onnxruntime/"; \
    for info in wheels/nvidia_*.dist-info wheels/tensorrt*.dist-info; do \
      [ ! -d "$info/licenses" ] || mv "$info/licenses" "$doc/$(basename "$info" .dist-info)"; \
    done; \
    rm -rf wheels

# ---------------------------------------------------------------- Go
# On the machine that builds, for whichever it is built for, and with what else is in the image static.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build-static
SHELL ["/bin/sh", "-eu", "-c"]
COPY build/ca/ /usr/local/share/ca-certificates/
# Debian's authorities only, not those of build/ca, go into the image.
RUN update-ca-certificates; \
    mkdir -p /root-of-static/etc/ssl/certs /root-of-static/tmp; \
    cd /root-of-static; \
    chmod 1777 tmp; \
    install -D -m 644 -t usr/share/doc/ca-certificates /usr/share/doc/ca-certificates/copyright; \
    cat /usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt; \
    printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n' >etc/passwd; \
    printf 'root:x:0:\nnonroot:x:65532:\n' >etc/group; \
    echo 'hosts: files dns' >etc/nsswitch.conf
ARG GOPROXY
ARG GOSUMDB
WORKDIR /spatial-flow
COPY . .
ARG TARGETARCH
ARG VERSION=dev
ARG REVISION=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    service=github.com/spatial-flow/spatial-flow/flow/service; \
    CGO_ENABLED=0 GOARCH=$TARGETARCH GOTOOLCHAIN=local go build -trimpath -o /out/ \
      -ldflags "-s -w -X $service.Version=$VERSION -X $service.Revision=$REVISION" \
      ./flow/cmd/nats-config ./flow/cmd/provision ./fuser/cmd/fuser ./gateway/cmd/gateway ./gateway/cmd/smoke; \
    mkdir /notices; \
    CGO_ENABLED=0 GOARCH=$TARGETARCH GOTOOLCHAIN=local build/audit.sh notices \
      ./flow/cmd/nats-config ./flow/cmd/provision ./fuser/cmd/fuser ./gateway/cmd/gateway ./gateway/cmd/smoke >/notices/NOTICES

FROM ${GO_IMAGE} AS go

FROM opencv AS build-vision
COPY --from=opencv /out/ /
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOTOOLCHAIN=local CPATH=/usr/local/include/opencv4
ARG GOPROXY
ARG GOSUMDB
WORKDIR /spatial-flow
COPY . .
ARG VERSION=dev
ARG REVISION=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    service=github.com/spatial-flow/spatial-flow/flow/service; \
    ldconfig; \
    eval "$(make -s env)"; \
    go build -trimpath -tags "$TAGS" -ldflags "-s -w -X $service.Version=$VERSION -X $service.Revision=$REVISION" -o /out/ \
      ./producer/cmd/producer ./workers/cmd/worker ./standalone/cmd/spatialflow; \
    mkdir /notices; \
    build/audit.sh notices ./producer/cmd/producer ./workers/cmd/worker ./standalone/cmd/spatialflow >/notices/NOTICES

# ---------------------------------------------------------------- static
FROM scratch AS static
ENV PATH=/usr/local/bin
COPY --from=build-static /root-of-static/ /
COPY LICENSE /usr/share/doc/spatial-flow/
COPY --from=build-static /notices/ /usr/share/doc/spatial-flow/
COPY --from=build-static /out/ /usr/local/bin/
USER 65532:65532
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="Spatial-Flow static" \
      org.opencontainers.image.description="Spatial-Flow's fuser, gateway and provision, and smoke, which tries them" \
      org.opencontainers.image.source="https://github.com/spatial-flow/spatial-flow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# ---------------------------------------------------------------- vision
FROM ${DEBIAN_IMAGE} AS vision-libraries
SHELL ["/bin/sh", "-eu", "-c"]
# The mirror and the certificates of the build are lent, and do not stay.
RUN --mount=type=bind,from=base,source=/etc/apt,target=/etc/apt \
    --mount=type=bind,from=base,source=/etc/ssl/certs,target=/run/certs \
    apt-get -o Acquire::https::CAInfo=/run/certs/ca-certificates.crt update; \
    apt-get -o Acquire::https::CAInfo=/run/certs/ca-certificates.crt install -y --no-install-recommends \
      ca-certificates libdav1d6 libjpeg62-turbo libpng16-16 libstdc++6 libwebp7 zlib1g; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*; \
    echo 'nonroot:x:65532:' >>/etc/group; \
    echo 'nonroot:x:65532:65532:nonroot:/tmp:/usr/sbin/nologin' >>/etc/passwd; \
    install -d -o 65532 -g 65532 /var/cache/spatial-flow; \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} + # nobody in there becomes root
# Where TensorRT keeps its engines: /var/cache/spatial-flow/tensorrt.
ENV XDG_CACHE_HOME=/var/cache
COPY --from=native /out/ /
COPY LICENSE /usr/share/doc/spatial-flow/
COPY workers/models/demo/*.onnx /usr/share/spatial-flow/models/

FROM vision-libraries AS vision-cpu
COPY --from=onnxruntime /out/ /
RUN ldconfig
USER 65532:65532

FROM vision-cpu AS vision
COPY --from=build-vision /notices/ /usr/share/doc/spatial-flow/
COPY --from=build-vision /out/producer /out/worker /usr/local/bin/
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="Spatial-Flow vision" \
      org.opencontainers.image.description="Spatial-Flow's producer and worker, with ONNX Runtime and two demo models" \
      org.opencontainers.image.source="https://github.com/spatial-flow/spatial-flow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# ---------------------------------------------------------------- vision-cuda
# No CUDA base image: the libraries come with the wheels, the driver from the node.
FROM vision-libraries AS vision-cuda
COPY --from=cuda /out/ /
RUN ldconfig
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video LD_LIBRARY_PATH=/usr/local/lib/nvidia
COPY --from=build-vision /notices/ /usr/share/doc/spatial-flow/
COPY --from=build-vision /out/producer /out/worker /usr/local/bin/
USER 65532:65532
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="Spatial-Flow vision-cuda" \
      org.opencontainers.image.description="Spatial-Flow's producer and worker, with ONNX Runtime for CUDA 13, cuDNN 9 and two demo models" \
      org.opencontainers.image.source="https://github.com/spatial-flow/spatial-flow" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-NVIDIA" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

# ---------------------------------------------------------------- standalone
FROM vision-cpu AS standalone
USER root
RUN install -d -o 65532 -g 65532 /data
USER 65532:65532
COPY --from=build-vision /notices/ /usr/share/doc/spatial-flow/
COPY --from=build-vision /out/spatialflow /usr/local/bin/
VOLUME /data
WORKDIR /data
ENV TMPDIR=/data SPATIALFLOW_HTTP=0.0.0.0:8000 SPATIALFLOW_ADMIN=0.0.0.0:8001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["spatialflow", "healthy"]
ENTRYPOINT ["spatialflow"]
# Whoever reaches the port sees the street; what else is shown is for somebody to say.
CMD ["up", "--source", "street:", "--anonymous", "view,predict,status"]
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="Spatial-Flow" \
      org.opencontainers.image.description="All of Spatial-Flow in one process, with a generated street to look at" \
      org.opencontainers.image.source="https://github.com/spatial-flow/spatial-flow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
