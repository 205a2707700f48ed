# Everything that is done with this tree. Root is needed for what boots hosts; each target installs what it lacks.
#
#   make demo       the main job end to end on a throwaway host, nothing is left running
#   make test       all tests: units, contract, hosts on three Debian releases
#   make check      what must be clean before a commit
#   make package    target/package/hostward_<version>_amd64.deb
#   make bench      measurements, as a table
#   make bench-nss  account lookups, side by side with what a lookup must take and with other NSS modules
#   make fuzz       each fuzz target for FUZZ_SECONDS
#   make sanitize   the reader's tests with every access to memory watched
#   make lab        a host and a backend to explore; `make lab-down` removes them
#   make setup      only install what the others need

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Built against this glibc, so that one package runs on every supported release.
GLIBC := 2.28
ZIG := 0.17.0
CARGO_ZIGBUILD := 0.24.0
CARGO_DENY := 0.20.2

TRIPLE := x86_64-unknown-linux-gnu
TOOLS := target/tools
BUILT := target/$(TRIPLE)
PYTHON := $(TOOLS)/python-zig$(ZIG)-zigbuild$(CARGO_ZIGBUILD)
DENY := $(TOOLS)/cargo-deny-$(CARGO_DENY)
OCSF := $(TOOLS)/python-ocsf
SIEM := $(TOOLS)/python-siem

APT_PACKAGES := binutils build-essential ca-certificates cmake dpkg-dev e2fsprogs git iproute2 lintian mmdebstrap \
	openssh-client openssh-server libpam0g procps python3-venv shellcheck sudo systemd-container util-linux
# What the step-ca of the tests is built from.
STEP_CA_PACKAGES := golang-go golang-github-smallstep-certificates-dev
PROGRAMS := hostward hostward-agent hostward-apply hostward-principals
LIBRARIES := $(BUILT)/nss/libnss_hostward.so $(BUILT)/nss/libsubid_hostward.so
PAM_MODULE := $(BUILT)/release/libpam_hostward.so
MAINTAINER_SCRIPTS := $(addprefix packaging/debian/,preinst postinst prerm postrm)
SCRIPTS := packaging/nsswitch packaging/build-deb packaging/check-glibc packaging/check-apply packaging/library.sh .ci/run \
	nss-module/check-library.sh pam-module/check-library.sh \
	tests/lab/src/lab/cleanup.sh tests/lab/src/host/start.sh tests/lab/src/image/build.sh tests/lab/src/image/finish.sh

.PHONY: all ocsf siem fuzz sanitize demo lab lab-down test check bench bench-nss package programs backend images setup apt apt-step-ca step-ca \
	clean-lab

all: package

# --- tools -------------------------------------------------------------------------------------------------------

setup: apt $(PYTHON)/done $(DENY)/done $(OCSF)/done $(SIEM)/done

apt: PACKAGES = $(APT_PACKAGES)
apt-step-ca: PACKAGES = $(STEP_CA_PACKAGES)
apt-step-ca: apt
apt apt-step-ca:
	@missing=$$(for package in $(PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" != 0 ]; then echo "run as root, or install: $$missing" >&2; exit 1; fi; \
	    apt-get --quiet=2 update; \
	    DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes --no-install-recommends install $$missing; \
	fi

$(PYTHON)/done: | apt
	rm -rf $(PYTHON)
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet ziglang==$(ZIG) cargo-zigbuild==$(CARGO_ZIGBUILD)
	touch $@

# The one that is installed, if it is the right one.
$(DENY)/done:
	mkdir -p $(DENY)/bin
	if [ "$$(cargo deny --version 2>/dev/null)" = "cargo-deny $(CARGO_DENY)" ]; then \
	    ln -sf "$$(command -v cargo-deny)" $(DENY)/bin/cargo-deny; \
	else \
	    CARGO_PROFILE_DEV_DEBUG=false cargo install --locked --quiet --profile dev --root $(DENY) cargo-deny@$(CARGO_DENY); \
	fi
	touch $@

# The schema of events, and programs that hold events against it.
ocsf: $(OCSF)/done

# What reads logs and figures as others do.
siem: $(SIEM)/done

$(OCSF)/done: agent/events/tests/ocsf/requirements.txt
$(SIEM)/done: tests/contract/tests/siem/requirements.txt
$(OCSF)/done $(SIEM)/done: | apt
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --no-deps --requirement $<
	touch $@

# --- building ----------------------------------------------------------------------------------------------------

programs: apt $(PYTHON)/done
	PATH="$$PWD/$(PYTHON)/bin:$$PATH" cargo zigbuild --locked --release --target $(TRIPLE).$(GLIBC) \
	    $(PROGRAMS:%=--package %) --package pam-hostward
	PATH="$$PWD/$(PYTHON)/bin:$$PATH" cargo zigbuild --locked --profile nss --target $(TRIPLE).$(GLIBC) \
	    --package nss-hostward --package subid-hostward
	for library in $(LIBRARIES); do sh nss-module/check-library.sh $$library || exit; done
	sh pam-module/check-library.sh $(PAM_MODULE)
	packaging/check-glibc $(GLIBC) $(PROGRAMS:%=$(BUILT)/release/%) $(LIBRARIES) $(PAM_MODULE)
	packaging/check-apply $(BUILT)/release/hostward-apply

package: programs
	packaging/build-deb $(BUILT)/release $(BUILT)/nss target/package

backend: apt
	cargo build --locked --package hostward-mock-backend

# A real step-ca, built once for each state of its source: it takes a minute.
STEP_CA_SOURCE := tests/step-ca/ca/main.go
STEP_CA = $(TOOLS)/step-ca-$(shell sha256sum $(STEP_CA_SOURCE) | cut -c1-16)

step-ca: apt-step-ca
	if [ ! -x $(STEP_CA)/step-ca ]; then \
	    GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE=$(CURDIR)/target/go-build \
	        go build -o $(STEP_CA)/step-ca.new $(STEP_CA_SOURCE); \
	    mv $(STEP_CA)/step-ca.new $(STEP_CA)/step-ca; \
	fi
	ln -sfn $(notdir $(STEP_CA)) $(TOOLS)/step-ca

images: apt
	cargo run --locked --quiet --package hostward-lab --bin lab -- images

# --- checking ----------------------------------------------------------------------------------------------------

check: setup programs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo check --locked --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz-check
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	shellcheck --external-sources --shell=sh --severity=warning $(SCRIPTS) $(MAINTAINER_SCRIPTS)
	PATH="$$PWD/$(DENY)/bin:$$PATH" cargo deny --locked --workspace check bans licenses sources
	@# The database of advisories is not in any registry; where it cannot be reached that is said, not passed over.
	if PATH="$$PWD/$(DENY)/bin:$$PATH" cargo deny fetch db; then \
	    PATH="$$PWD/$(DENY)/bin:$$PATH" cargo deny --locked --workspace check advisories; \
	else \
	    echo "WARNING: advisories were NOT checked: their database cannot be reached from here" >&2; \
	fi

# Hosts wait more than they work: four at a time keep two cores busy.
HOST_TESTS := --package hostward-lab --package hostward-package-tests --package hostward-host-tests

# All of it, and once more at the end what failed: who reads only the end of a long log finds the reasons there.
TESTED := target/tests
define tested
@mkdir -p $(TESTED) && rm -f $(TESTED)/status
{ ended=0; cargo test --locked --no-fail-fast $(1) || ended=$$?; echo $$ended >$(TESTED)/status; } 2>&1 | tee $(TESTED)/log
@if [ "$$(cat $(TESTED)/status)" != 0 ]; then \
    printf '\nWhat failed, in short (in full: $(TESTED)/log):\n'; \
    grep -A 4 ' panicked at ' $(TESTED)/log | cut -c -300; \
    exit 1; \
fi
endef

# A failure says where it is by itself; frames of the test's library would only bury it.
test: export RUST_BACKTRACE = 0
test: export HOSTWARD_MOCK_BACKEND = $(CURDIR)/target/debug/hostward-mock-backend
test: export HOSTWARD_STEP_CA = $(CURDIR)/$(TOOLS)/step-ca/step-ca
test: package backend step-ca images $(OCSF)/done $(SIEM)/done
	$(call tested,--workspace $(patsubst --package,--exclude,$(HOST_TESTS)))
	$(call tested,$(HOST_TESTS) -- --test-threads=4)

# Wants a machine that does nothing else. The backend is an optimised one, or it would be what is measured.
bench: export HOSTWARD_MOCK_BACKEND = $(CURDIR)/target/release/hostward-mock-backend
bench: export HOSTWARD_STEP_CA = $(CURDIR)/$(TOOLS)/step-ca/step-ca
bench: package step-ca images
	cargo build --locked --quiet --release --package hostward-mock-backend
	cargo run --locked --quiet --release --package hostward-bench

# Changes nothing on this machine, and bears with others that use it. Sizes: `make bench-nss BENCH_USERS=1000,10000`.
BENCH_USERS := 1000,10000,100000,1000000
bench-nss: apt
	cargo build --locked --quiet --profile nss --package nss-hostward
	cargo run --locked --quiet --release --package hostward-bench-nss -- --users $(BENCH_USERS)

# --- fuzzing -----------------------------------------------------------------------------------------------------

FUZZ_SECONDS := 60
CARGO_FUZZ := 0.13.2
FUZZ := $(TOOLS)/cargo-fuzz-$(CARGO_FUZZ)

$(FUZZ)/bin/cargo-fuzz:
	cargo install --locked --quiet --root $(FUZZ) cargo-fuzz@$(CARGO_FUZZ)

FUZZ_TARGETS := account_database account_records account_answers policy entitlement ssh_agent
# Small inputs reach everything in a database that is damaged by instructions; documents want room.
FUZZ_LEN_account_answers := 64
FUZZ_LEN_account_records := 1024
# Whole files to begin with are those of each version, which nobody changes.
FUZZ_ALSO_account_database := agent/accounts/tests/golden

# Each target for FUZZ_SECONDS, each in one process. What it finds is kept in target/fuzz. The sanitizers are not stable yet,
# hence the bootstrap. What is told to them is what makes them fast: no traces of allocations that are never shown.
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: export CARGO_TARGET_DIR = $(CURDIR)/target/fuzz
fuzz: export ASAN_OPTIONS = malloc_context_size=2:quarantine_size_mb=4:detect_stack_use_after_return=0
fuzz: apt $(FUZZ)/bin/cargo-fuzz
	$(foreach target,$(FUZZ_TARGETS),mkdir -p target/fuzz/corpus/$(target) tests/fuzz/corpus/$(target) && \
	    PATH="$$PWD/$(FUZZ)/bin:$$PATH" cargo fuzz run --fuzz-dir tests/fuzz $(target) \
	        target/fuzz/corpus/$(target) tests/fuzz/corpus/$(target) $(FUZZ_ALSO_$(target)) -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 \
	        -max_len=$(or $(FUZZ_LEN_$(target)),4096) -entropic=0 -print_final_stats=1 &&) true

# What reads the account database, with every access to memory watched.
sanitize: export RUSTC_BOOTSTRAP = 1
sanitize: export RUSTFLAGS = -Zsanitizer=address
sanitize: apt
	cargo test --locked --package hostward-accounts --features map --target $(TRIPLE) --target-dir target/asan

# --- hosts to look at --------------------------------------------------------------------------------------------

LAB := cargo run --locked --quiet --package hostward-lab --bin lab --

demo: package backend images
	$(LAB) demo

lab: package backend images
	$(LAB) up

lab-down: apt
	$(LAB) down

# What a killed run left behind, if anything.
clean-lab: apt
	$(LAB) clean
