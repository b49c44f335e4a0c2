# `work` (Go 1.25+) means all packages of all modules in go.work.
MODULES     := client flow producer workers fuser gateway standalone
ROOT        := github.com/spatial-flow/spatial-flow
STATICCHECK := build/tool.sh staticcheck
ACTIONLINT  := build/tool.sh actionlint
TAGS        := customenv,gocv_specific_modules

# gocv against Debian's OpenCV 4.6: only the four modules that are used, see build/include.
export CGO_CPPFLAGS := -I$(CURDIR)/build/include -I/usr/include/opencv4
export CGO_CXXFLAGS := --std=c++11
export CGO_LDFLAGS  := -lopencv_core -lopencv_imgproc -lopencv_imgcodecs

.DEFAULT_GOAL := help
.PHONY: help demo compose install install-test build test test-long check race vet lint fmt fmt-check tidy tidy-check graph isolated static bench env models train-demo-models diagram recording images push images-test cluster-test chart-check chart-readme workflows-check scripts-check audit licences pins-check sbom audit-test eks-test release-dry-run release

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

SOURCE ?= street:
demo: build ## the whole pipeline in one process; SOURCE= DETECT_MODEL= DEPTH_MODEL= DURATION= set it
	bin/spatialflow up --source '$(SOURCE)' $(if $(DETECT_MODEL),--detect-model '$(DETECT_MODEL)') \
		$(if $(DEPTH_MODEL),--depth-model '$(DEPTH_MODEL)') $(if $(DURATION),--duration $(DURATION)) $(UPFLAGS)

compose: ## all services in containers; WATCHED=1: Prometheus and Grafana too; GPU=1: workers on a GPU; SOURCE= as seen in there
	@build/compose.sh

install: ## what the build and the demo need
	@build/install.sh
install-test:
	@build/install.sh test

build: install ## bin/spatialflow and the services
	go build -tags '$(TAGS)' -o bin/ work

# Tests of a package that run at once: most of them wait more than they compute.
PARALLEL := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
LONG     ?= .
test: install-test ## all tests but the long ones
	go test -count=1 -run 'Protocol|AsyncAPI' ./flow # they read docs, which the cache does not know of
	@$(call named,go test -parallel $(PARALLEL) -tags '$(TAGS)' work)

# What tests compare with lies in ../shared or SPATIALFLOW_SHARED. Where it is neither here nor there the tests that need it are
# skipped, and named in the end; go test alone fails.
named = names=$$(mktemp); [ -z "$$SPATIALFLOW_NO_SHARED" ] && [ -d "$${SPATIALFLOW_SHARED:-../shared}" ] || export SPATIALFLOW_NO_SHARED="$$names"; \
	echo "$(1)"; $(1); failed=$$?; \
	[ ! -s "$$names" ] || { echo "SKIPPED, for want of reference data to compare with:"; sort -u "$$names"; }; rm -f "$$names"; exit $$failed

test-long: install-test ## what takes minutes, judges times or kills servers: nothing else should run on the machine
	TAGS='$(TAGS)' go test -count=1 -timeout 90m -v -tags '$(TAGS),long,rigged' -run '$(LONG)' ./standalone

check: fmt-check install-test scripts-check workflows-check pins-check tidy-check graph vet lint build licences sbom audit-test chart-check isolated static race ## what CI runs first

race: install-test
	@$(call named,go test -race -timeout 20m -parallel $(PARALLEL) -tags '$(TAGS)' work)
vet: install
	go vet -tags '$(TAGS)' work
lint: install
	$(STATICCHECK) -tags '$(TAGS)' work
fmt: ## format all Go
	gofmt -s -w $(MODULES) charts build
fmt-check:
	@out=$$(gofmt -s -l $(MODULES) charts build); [ -z "$$out" ] || { echo "not formatted (make fmt):" $$out; exit 1; }
tidy: ## bring go.mod, go.sum and go.work.sum in order
	go work sync
	@$(call each,go mod tidy)
	@$(call charts,go mod tidy)
	cd build/audit && GOWORK=off go mod tidy
tidy-check:
	@$(call each,go mod tidy -diff)
	@$(call charts,go mod tidy -diff)
	cd build/audit && GOWORK=off go mod tidy -diff
isolated: install
	@$(call each,GOWORK=off go build -tags '$(TAGS)' -o /dev/null ./...)
static:
	@for m in client flow fuser gateway; do (cd $$m && CGO_ENABLED=0 GOWORK=off go build -o /dev/null ./...) || exit 1; done
graph: install ## who imports whom, and how many files a folder has
	@TAGS='$(TAGS)' build/graph.sh

bench: install ## speed and allocations
	go test -tags '$(TAGS)' -run '^$$' -bench . -benchmem work

env: ## what go needs to know outside of make: eval "$$(make -s env)"
	@printf "export CGO_CPPFLAGS='%s' CGO_CXXFLAGS='%s' CGO_LDFLAGS='%s' TAGS='%s'\n" \
		'$(CGO_CPPFLAGS)' '$(CGO_CXXFLAGS)' '$(CGO_LDFLAGS)' '$(TAGS)'

models: ## make the models of no cost again (Python, onnx from PyPI)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && python3 -m venv "$$dir" && \
		build/pip.sh models >"$$dir/requirements.txt" && \
		"$$dir/bin/pip" install -q --disable-pip-version-check -r "$$dir/requirements.txt" && "$$dir/bin/python" workers/models/nocost.py

VERSION ?= $(shell sed -n 's/^appVersion: *"\{0,1\}\([^" ]*\).*/\1/p' charts/spatial-flow/Chart.yaml 2>/dev/null)
images: ## the container images; IMAGES= some of them, REGISTRY= before their names, VERSION=, DOCKERFLAGS= for docker build
	@IMAGES='$(IMAGES)' REGISTRY='$(REGISTRY)' VERSION='$(VERSION)' DOCKERFLAGS='$(DOCKERFLAGS)' build/images.sh build
push: ## push the images to REGISTRY=
	@IMAGES='$(IMAGES)' REGISTRY='$(REGISTRY)' VERSION='$(VERSION)' build/images.sh push
images-test: ## try the images and docker-compose.yml on a real Docker engine
	@build/images-test.sh
cluster-test: ## try the chart on a real cluster: KUBECONFIG=, LOAD='kind load docker-image' or REGISTRY=
	@KUBECONFIG='$(KUBECONFIG)' LOAD='$(LOAD)' REGISTRY='$(REGISTRY)' build/cluster-test.sh

# Outside of go.work, so that the types of Helm and Kubernetes choose no versions for the services; oldest is for those of
# the oldest Kubernetes. The tests read what Go's cache does not know of: -count=1.
charts = set -e; for m in charts/tests charts/tests/oldest; do (cd $$m && GOWORK=off $(1)) || { echo "in $$m: $(1)"; exit 1; }; done
chart-check: build ## the chart, its dashboards and alerts, and docker-compose.yml, without a cluster
	@$(call charts,go vet ./...)
	@$(call charts,$(CURDIR)/$(STATICCHECK) ./...)
	cd charts/tests && GOWORK=off go test -count=1 ./...
chart-readme: ## the tables of values in the chart's README.md, out of values.yaml
	@cd charts/tests && GOWORK=off go run ./cmd/readme ../spatial-flow

workflows-check: ## the workflows of GitHub, by actionlint
	$(ACTIONLINT) -color=false
scripts-check: install-test ## the shell scripts, by shellcheck, and those of deploy/eks by running them without AWS
	shellcheck .ci/run $$(git ls-files '*.sh')
	build/eks-test.sh
eks-test:
	build/eks-test.sh
release-dry-run: install ## what of a release can be made here: dist/ with programs, chart, SBOMs and checksums
	build/release.sh clean check static native chart sbom sums
	@echo "not made here: images for two architectures, signatures (cosign, keyless), and what is published: release.yml"
release: ## STEPS= of build/release.sh, as .github/workflows/release.yml runs them
	build/release.sh $(STEPS)

audit: build pins-check licences sbom audit-test vulnerabilities ## what we are made of: pins, licences, SBOMs, known vulnerabilities
pins-check:
	@build/audit.sh pins
licences: install ## the licence of all that is built into a program or is in an image
	@TAGS='$(TAGS)' build/audit.sh licences
sbom: build install-test ## bin/*.cdx.json: what is in each program (CycloneDX)
	@TAGS='$(TAGS)' build/sbom.sh bin bin
	@build/audit.sh valid bin/*.cdx.json
audit-test: install-test
	cd build/audit && GOWORK=off go vet ./... && GOWORK=off $(CURDIR)/$(STATICCHECK) ./... && GOWORK=off go test -count=1 ./...
vulnerabilities: install # asks for a database on the network, so that it is no part of check
	@TAGS='$(TAGS)' build/vulnerabilities.sh

diagram: docs/architecture.svg ## docs/architecture.svg out of its source (Debian: graphviz)
docs/architecture.svg: docs/architecture.dot
	dot -Tsvg $< -o $@

recording: build ## docs/street.webp, the street as watch draws it (needs ffmpeg)
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
		bin/spatialflow watch 'street:?seed=8&fps=10' --frames 70 --out "$$dir/street.mp4" && \
		ffmpeg -v error -y -i "$$dir/street.mp4" -vf scale=960:-2 -c:v libwebp_anim -quality 70 -loop 0 docs/street.webp

TRAIN  := workers/models/train
MINUTES := 80
train-demo-models: build ## train the demo models again, side by side: 80 minutes on 2 cores, 6 GB of Python packages, 25 GB of data
	python3 -m venv build/train/venv
	build/pip.sh train >build/train/requirements.txt
	build/train/venv/bin/pip install -q --disable-pip-version-check -r build/train/requirements.txt
	[ -e build/train/data/manifest.jsonl ] || { rm -rf build/train/data && bin/spatialflow street export --frames 14400 --seed 1000 --per-seed 4 --step 2s --split train --out build/train/data; }
	build/train/venv/bin/python -c 'import sys; sys.path.insert(0, "$(TRAIN)"); import data, pathlib; data.load(pathlib.Path("build/train/data"))'
	@trap 'kill 0' INT; for net in detect depth; do \
		build/train/venv/bin/python $(TRAIN)/train.py $$net --data build/train/data --out build/train/run --minutes $(MINUTES) --threads 1 & \
		pids="$$pids $$!"; done; for pid in $$pids; do wait $$pid || exit 1; done
	build/train/venv/bin/python $(TRAIN)/export.py --run build/train/run --out workers/models/demo
	go build -tags '$(TAGS)' -o bin/ ./standalone/cmd/spatialflow && bin/spatialflow eval

each = set -e; for m in $(MODULES); do (cd $$m && $(1)) || { echo "in $$m: $(1)"; exit 1; }; done
