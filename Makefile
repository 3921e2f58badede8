# make build   build/ctsync
# make demo    two firewalls in network namespaces, and what a failover does to live connections
# make test    everything, the live tests included (root, or sudo)
# make test-long  the live tests with large numbers
# make bench   what it costs, beside conntrackd
# make bench-growth  how that grows, into docs
# make lint    gofmt, vet, staticcheck
# make clean

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
sources := $(shell git ls-files --cached --others --exclude-standard '*.go' 2>/dev/null)
root    := $(shell test "$$(id -u)" = 0 || echo sudo -E)
as_root := $(if $(root),-exec '$(root)')
flags   ?=
demo    ?=

export CGO_ENABLED := 0

.PHONY: build demo test test-long lint clean
.DELETE_ON_ERROR:

build:
	go build -trimpath -ldflags '-X main.release=$(version)' -o build/ctsync ./cmd/ctsync

# demo='-daemon conntrackd' and the like: see build/demo -help.
demo: build
	tests/install.sh
	go build -o build/demo ./tests/demo
	$(root) build/demo -program build/ctsync $(demo)

# The live tests measure time, so one package at a time, after the rest.
test: build
	tests/install.sh
	go vet ./...
	go test $(as_root) -timeout 5m $(flags) $$(go list ./... | grep -v '^ctsync/tests/')
	go test $(as_root) -timeout 8m -p 1 $(flags) ./tests/...

# The live tests with large numbers: hundreds of failovers and kills, 500,000 flows. It takes an hour or two, and raises
# nf_conntrack_max meanwhile.
test-long: build
	tests/install.sh
	LONG=1 go test $(as_root) -count=1 -timeout 4h -p 1 -v $(flags) ./tests/live ./tests/dialogues

lint:
	@unformatted=$$(gofmt -l $(sources)); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...

clean:
	rm -rf build

# The Debian package of HEAD, in build/deb.
.PHONY: deb test-deb
deb:
	packaging/deb/build.sh build/deb

# The package in booted containers: installed, started, driven by keepalived and by Pacemaker, upgraded, purged. Two tests at a
# time, which wait for most of theirs.
test-deb:
	tests/package/install.sh
	go vet -tags deb ./tests/package/
	go test $(as_root) -count=1 -timeout 20m -parallel 2 -tags deb $(flags) ./tests/package/

# conntrackd and ctsync in turns under the same load: one table, and build/bench.json for programs. bench='-help' tells
# the flags; BIG=1 lets the tables be larger than nf_conntrack_max, which is put back.
bench ?=

.PHONY: bench
bench: build
	tests/install.sh
	go build -o build/generate ./tests/load/generate
	go build -o build/bench ./tests/bench
	$(root) build/bench $(bench)

# How the cost grows with the table and with the number of peers: half an hour and more, 3 GB, and nf_conntrack_max is larger
# meanwhile. plot makes the pictures and the tables of docs/GROWTH.md from what it found. growth='-help' tells the flags.
growth ?=

.PHONY: bench-growth plot
bench-growth: build
	tests/install.sh
	go build -o build/generate ./tests/load/generate
	go build -o build/bench ./tests/bench
	BIG=1 $(root) build/bench growth -json docs/growth.json $(growth)
	build/bench plot docs

plot:
	go run ./tests/bench plot docs

# The alert rules and the dashboard with Debian's Prometheus, against two running daemons.
.PHONY: test-monitoring
test-monitoring: build
	tests/install.sh prometheus:prometheus promtool:prometheus
	go vet -tags monitoring ./packaging/monitoring/
	go test $(as_root) -count=1 -timeout 5m -tags monitoring $(flags) ./packaging/monitoring/

# Simulations with seeds that nobody has tried: make sim SEEDS=1000 FIRST=5001. At the end, what of the engine none of
# them reached. See docs/SIMULATION.md.
SEEDS ?= 1000
FIRST ?= 1
core  := ctsync/engine,ctsync/engine/cache,ctsync/engine/flow,ctsync/engine/wire

.PHONY: sim
sim:
	mkdir -p build
	go test ./engine/sim -run 'TestSeeds$$' -seeds=$(SEEDS) -first=$(FIRST) -v -timeout 60m -coverpkg=$(core) -coverprofile=build/sim.cover
	go run ./tests/reach build/sim.cover

# The protocol's states, exhausted by spin: see docs/MODEL.md. model=quick takes the smaller bounds.
model ?=

.PHONY: model
model:
	tests/model/run.sh $(model)
