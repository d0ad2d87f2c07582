# castpoint: `make demo` shows it, `make test` checks it, `make help` lists the rest.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Whatever who builds has set for himself (go env), programs are the same bytes.
GOBUILD := CGO_ENABLED=0 GOFLAGS=-trimpath GOAMD64=v1 GOARM64=v8.0 go build -trimpath -buildvcs=auto -ldflags '$(LDFLAGS)'

# The end-to-end tests, the demo and the benchmark make network namespaces.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

FUZZTIME  ?= 10s
KILLS     ?= 100
MINUTES   ?= 10
GOLANGCI  := v2.15.0

# End-to-end tests of machines that boot from firmware.
BOOTING := ^Test(Chain|Deployment|MachineBoots|UnknownMachine|UEFI|SecureBoot|Firmware|TaggedVLANs|ProxyBeside|LabByCommand|AskForKey)

# What packages are made for.
ARCHES := amd64 arm64
# Debian and RPM want versions that begin with a digit and have no "-"; "~" comes before
# nothing: 1.2.0~rc1, 1.2.0, or 0.0.0+17.gabc123.
PACKAGE_VERSION := $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//; s/-\([0-9]*\)-g/+\1.g/; s/-/~/g' | grep . || echo 0.0.0+$$(git rev-list --count HEAD 2>/dev/null || echo 0).g$(subst -,.,$(VERSION)))

AGENTS := linux-amd64 linux-arm64 windows-amd64.exe windows-arm64.exe
UNIT    := $$(go list ./... | grep -vE '^castpoint/(internal/lab|test/e2e)$$')

.PHONY: build test unit e2e race lint fuzz soak bench demo package packages reproducible tools clean help go

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: go ## bin/castpoint with the agents inside, and bin/castagent-*
	@mkdir -p bin
	@for target in $(AGENTS); do \
	  echo "building castagent for $${target%.exe}"; \
	  platform=$${target%.exe}; \
	  case $$platform in windows-*) \
	    go run ./internal/winres -version '$(VERSION)' -arch $${platform#*-} -o cmd/castagent/resource_$${platform/-/_}.syso;; \
	  esac; \
	  GOOS=$${platform%-*} GOARCH=$${platform#*-} $(GOBUILD) -o bin/castagent-$$target ./cmd/castagent; \
	  cp bin/castagent-$$target cmd/castpoint/agents/; \
	done
	@echo "building castpoint $(VERSION)"
	@$(GOBUILD) -o bin/castpoint ./cmd/castpoint

test: tools build ## everything: vet, unit tests, end-to-end tests (installs what it needs)
	go vet ./...
	$(MAKE) --no-print-directory unit e2e

unit: tools go ## unit tests, fuzz seeds and the simulated network; no root needed
	go test $(UNIT)

e2e: tools build packages ## end-to-end tests in namespaces and with QEMU firmware; root
	go test -c -o bin/test/ ./internal/lab ./test/e2e
	GOOS=windows GOARCH=amd64 go test -c -o bin/test/ ./agent ./agent/client ./agent/diagnose ./agent/facts ./agent/run ./agent/target ./agent/machine ./agent/platform ./agent/step ./internal/netio
	cd internal/lab && $(SUDO) ../../bin/test/lab.test -test.timeout 10m
	@# Machines boot in one process, everything else runs in another: emulated machines
	@# take one processor each, whatever there is beside them.
	@cd test/e2e; status=0; \
	$(SUDO) ../../bin/test/e2e.test -test.timeout 40m -test.v -test.run '$(BOOTING)' > ../../bin/test/booting.log 2>&1 & booting=$$!; \
	$(SUDO) ../../bin/test/e2e.test -test.timeout 40m -test.v -test.skip '$(BOOTING)' || status=1; \
	wait $$booting || status=1; \
	cat ../../bin/test/booting.log; exit $$status

# The detector's own memory is more than internal/confine lets a process have.
race: go ## unit tests under the race detector, shuffled; needs a C compiler
	CGO_ENABLED=1 go test -race -shuffle=on $$(go list ./... | grep -vE '^castpoint/(internal/(lab|confine)|test/e2e)$$')

lint: go ## gofmt, and golangci-lint with the import directions
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w:" $$unformatted; exit 1; fi
	@linter=$$(command -v golangci-lint || true); \
	if ! { [ -n "$$linter" ] && "$$linter" version --short | grep -qx '$(GOLANGCI:v%=%)'; }; then \
	  linter=bin/tools/golangci-lint; \
	  [ -x $$linter ] || GOBIN=$$PWD/bin/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI); \
	fi; \
	"$$linter" config verify && "$$linter" run ./...

fuzz: go ## every fuzz test for FUZZTIME (default 10s) each
	@for package in $(UNIT); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "== $$package $$target"; \
	    said=$$(go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$package 2>&1) && { tail -n 3 <<<"$$said"; continue; }; \
	    echo "$$said"; \
	    : "Before Go 1.27 the end of the time may be taken for a failure (golang/go#75804)."; \
	    [[ $$said == *"context deadline exceeded"* && $$said != *"Failing input"* ]]; \
	  done; \
	done

soak: tools packages ## what takes long: MINUTES (default 10) of chaos (SEED=N repeats it), library and sessions killed at KILLS (default 100) random points, slow machines, 20 GB by TFTP; root
	test/install-tools soak
	go build -o bin/test/ ./test/soak
	$(SUDO) bin/test/soak -castpoint bin/castpoint -minutes $(MINUTES) $(if $(SEED),-seed $(SEED))
	CASTPOINT_KILLS=$(KILLS) go test -count=1 -timeout 60m -run TestKill -v ./test/kill
	go test -c -o bin/test/ ./test/e2e
	cd test/e2e && $(SUDO) env CASTPOINT_KILLS=$(KILLS) ../../bin/test/e2e.test -test.v -test.timeout 60m -test.run TestKilledInSession
	cd test/e2e && $(SUDO) env CASTPOINT_SOAK=1 ../../bin/test/e2e.test -test.v -test.timeout 90m \
	  -test.run 'TestLocalBoot|TestSlowerSession|TestWayBackFromUnicast|TestNoQuerier|TestCommandPromptInLinux|TestChooseDeployment|TestPackageUnderSystemd|TestLintian|TestContainer|TestLabByCommandNet|TestLabByCommandFirmware|TestValidateOnSchedule|TestLinuxDeployment|TestBootEnvironmentFromDebian|TestWipeDiskTemplate|TestCaptureTemplate'
	cd test/e2e && $(SUDO) env CASTPOINT_SOAK=1 ../../bin/test/e2e.test -test.v -test.timeout 90m \
	  -test.run 'TestFaults|TestEveryFaultInEveryStep|TestPowerAndServerInSteps|TestWake$$'
	CASTPOINT_SOAK=1 go test -count=1 -timeout 60m -run TestReproducible -v ./packaging
	cd test/e2e && $(SUDO) env CASTPOINT_LARGE=20000000000 ../../bin/test/e2e.test -test.v -test.timeout 30m -test.run TestTFTPLargeFile

bench: build ## castpoint beside other multicast, TFTP, HTTP and DHCP servers in the lab; root
	test/install-tools test bench
	go build -o bin/test/ ./test/bench ./test/bench/boot ./test/bench/consolebench ./test/bench/contentbench ./test/bench/dhcpbench ./test/bench/load ./test/bench/wimbench
	bin/test/consolebench
	bin/test/contentbench -castpoint bin/castpoint
	bin/test/wimbench -castpoint bin/castpoint
	$(SUDO) env PATH=$(CURDIR)/bin/peers/bin:$$PATH bin/test/bench -castpoint bin/castpoint $(BENCH)
	$(SUDO) env PATH=$(CURDIR)/bin/peers/bin:$$PATH bin/test/boot -castpoint bin/castpoint
	$(SUDO) env PATH=$(CURDIR)/bin/peers/bin:$$PATH bin/test/dhcpbench -castpoint bin/castpoint
	$(SUDO) bin/test/load -castpoint bin/castpoint

demo: tools build ## two PXE VMs and four clients receive one encrypted session; root
	go build -o bin/test/demo ./test/demo
	$(SUDO) bin/test/demo -castpoint bin/castpoint

package: build ## .deb and .rpm for amd64 and arm64 (by MAINTAINER='Name <address>'), with SBOM and checksums (signed with the SSH key SIGN=FILE), in bin/package
	rm -rf bin/package
	packaging/build '$(PACKAGE_VERSION)' amd64 bin/castpoint deb rpm
	$(subst CGO_ENABLED=0,CGO_ENABLED=0 GOARCH=arm64,$(GOBUILD)) -o bin/package/castpoint-arm64 ./cmd/castpoint
	packaging/build '$(PACKAGE_VERSION)' arm64 bin/package/castpoint-arm64 deb rpm
	rm bin/package/castpoint-arm64
	packaging/checksums bin/package '$(SIGN)'

reproducible: go ## two builds of this commit, in other folders and at other times, are the same bytes
	packaging/reproduce

packages: build ## .deb and .rpm for this machine only
	rm -rf bin/package
	packaging/build '$(PACKAGE_VERSION)' $$(go env GOARCH) bin/castpoint deb rpm

tools: ## install the Debian or Ubuntu packages that test and demo need
	test/install-tools test

clean: ## remove what was built
	rm -rf bin cmd/castpoint/agents/castagent-* cmd/castagent/resource_*.syso

go:
	@command -v go >/dev/null || { echo >&2 "castpoint is built with Go 1.26 or newer, and there is no go command here." \
	  "Install it from https://go.dev/dl/ (Debian 13, Ubuntu 24.04 and newer: apt-get install golang-go" \
	  "is enough, it fetches the right toolchain by itself)."; exit 1; }
	@go version >/dev/null 2>&1 || { echo >&2 "the go command here is too old for this module (Go 1.26): install one from https://go.dev/dl/"; go version; }
