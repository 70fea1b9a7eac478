# Hearth. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
# Engines speak HTTP/1.1: leaving HTTP/2 out makes the binary 0.34 MB smaller.
TAGS     := nethttpomithttp2
BUILD    := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags $(TAGS) -ldflags '$(LDFLAGS)'
# The tools of .ci/tools are built once and kept: nothing is looked up later.
TOOLS    := .cache/bin
FUZZTIME ?= 30s
PREFIX   ?= /usr/local
# What is measured, and how often.
BENCH    ?= overhead,own,growth,join,loss,idle,throughput,burst
COUNT    ?= 20
TIMES    ?= 1
comma    := ,
SEED     ?= $(shell date +%s)
MINUTES  ?= 10
# The meshes of testnet are timed and share the engine: nothing else runs beside them.
UNITS    = $$(go list ./... | grep -v /testnet)
MESHES   := ./testnet/...

.PHONY: help build install build-all generate vet lint tidy check test units meshes demo testnet sim bench bench-micro bench-compare bench-guard bench-faults figures chaos fuzz vuln clean need-go setup

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || sed -nE 's/^([a-z-]+):.*## (.*)/  make \1: \2/p' $(MAKEFILE_LIST)

build: need-go ## Build bin/hearth, one static binary
	@mkdir -p bin
	$(BUILD) -o bin/hearth ./cmd/hearth

install: ## Copy bin/hearth to PREFIX/bin (/usr/local/bin); DESTDIR goes before it
	install -D -m 755 bin/hearth $(DESTDIR)$(PREFIX)/bin/hearth

build-all: need-go ## Build for linux on amd64, arm64, arm (v7) and riscv64
	@mkdir -p bin
	for arch in amd64 arm64 arm riscv64; do \
	  GOOS=linux GOARCH=$$arch GOARM=7 $(BUILD) -o bin/hearth-linux-$$arch ./cmd/hearth; \
	done

demo: need-go ## Show a mesh of three nodes at work, from nothing, and leave nothing behind
	@testnet/demo.sh

test: need-go setup units meshes ## Run all tests, installing and starting what is missing

units: need-go
	go test -race -timeout 10m $(UNITS)

meshes: need-go
	go test -race -p 1 -timeout 45m $(MESHES)
	go test -run TestSeedRepeats ./testnet/lifesim

check: build vet lint tidy test ## Run all that CI runs: build, vet, lint, tidy check, tests with the race detector

vet: need-go ## Run go vet
	go vet ./...

lint: need-go $(TOOLS)/golangci-lint ## Run golangci-lint (the floors of the packages included)
	$(TOOLS)/golangci-lint run ./...

tidy: need-go ## Check that both go.mod files are tidy
	go mod tidy -diff
	go -C .ci/tools mod tidy -diff

generate: need-go $(TOOLS)/protoc-gen-go $(TOOLS)/licences ## Generate the code of the wire messages, the JavaScript client's tables, and the list of licences
	@testnet/setup.sh protoc
	PATH=$(CURDIR)/$(TOOLS):$$PATH protoc -I protocol/pb --go_out=protocol/pb --go_opt=paths=source_relative protocol/pb/*.proto
	go run ./protocol/pb/tables >testnet/js/schema.mjs
	$(TOOLS)/licences ./cmd/hearth >cmd/hearth/licences.txt

testnet: need-go ## Start a mesh in Docker Compose (testnet/testnet.sh down ends it)
	@testnet/testnet.sh up

sim: need-go ## Simulate placement beside other policies
	go run ./testnet/sim --set all

bench: need-go setup ## Measure what it costs and how fast it is, COUNT times; BENCH=overhead,own,growth,join,loss,idle,throughput,burst
	@mkdir -p testnet/out
	cd testnet/bench && go test -run '^$$' -bench '(?i)^Benchmark($(subst $(comma),|,$(BENCH)))$$' -benchtime $(COUNT)x -timeout 60m -report $(CURDIR)/testnet/out

bench-faults: need-go setup ## Measure how soon losses are noticed and made good, and what floods do (some 20 minutes)
	@mkdir -p testnet/out
	cd testnet/bench/faults && go test -run '^$$' -bench . -benchtime 30x -timeout 60m -report $(CURDIR)/testnet/out

figures: need-go ## Put what make bench and make bench-faults measured into the pages
	go run ./testnet/bench/figures testnet/out/bench.json testnet/out/faults.json

bench-micro: need-go ## Run the micro-benchmarks beside the code; OUT=FILE keeps them, TIMES=10 runs each so often, PKG=./sched only there
	go test -run '^$$' -bench . -benchmem -count $(TIMES) $(or $(PKG),$(UNITS)) $(if $(OUT),| tee $(OUT))

bench-compare: need-go $(TOOLS)/benchstat ## Compare two files of bench-micro: BEFORE=FILE AFTER=FILE
	$(TOOLS)/benchstat $(BEFORE) $(AFTER)

bench-guard: need-go setup ## Compare allocations and sizes with those kept; UPDATE=1 keeps what is measured now
	go run ./testnet/bench/guard $(if $(UPDATE),-update)

chaos: need-go setup ## Bring about random faults under load: SEED=7 MINUTES=10 repeats a schedule
	CHAOS_SEED=$(SEED) CHAOS_MINUTES=$(MINUTES) go test -run '^TestChaos$$' -v -count=1 -timeout 24h ./testnet

fuzz: need-go ## Run each fuzz target for FUZZTIME (30s; FUZZTIME=10m goes deeper)
	FUZZTIME=$(FUZZTIME) .ci/fuzz

vuln: need-go $(TOOLS)/govulncheck ## Look for known vulnerabilities; needs the Internet, so it is no part of check
	@go build ./... # what does not build is no fault of the network
	@$(TOOLS)/govulncheck ./... || { code=$$?; [ $$code -eq 3 ] || \
	  echo "Nothing was found out: the vulnerability database (https://vuln.go.dev) must be reachable for this." >&2; exit $$code; }

clean: ## Remove what was built
	rm -rf bin .cache testnet/out

need-go:
	@.ci/need-go

setup: need-go
	@testnet/setup.sh docker compose netns busybox qemu cc node browser curl systemd

$(TOOLS)/golangci-lint: MAIN = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/protoc-gen-go: MAIN = google.golang.org/protobuf/cmd/protoc-gen-go
$(TOOLS)/govulncheck: MAIN = golang.org/x/vuln/cmd/govulncheck
$(TOOLS)/benchstat: MAIN = golang.org/x/perf/cmd/benchstat
$(TOOLS)/licences: MAIN = ./licences
$(TOOLS)/%: .ci/tools/go.mod .ci/tools/go.sum | need-go
	@mkdir -p $(TOOLS)
	go -C .ci/tools build -buildvcs=false -o $(CURDIR)/$@ $(MAIN)
	@touch $@
