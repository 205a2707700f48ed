# Everything that is done with this tree. Root is needed for what boots hosts; each target installs what it lacks.
#
#   make demo       the main job end to end on a throwaway host, nothing is left running
#   make test       all tests: units, contract, hosts on three Debian releases
#   make check      what must be clean before a commit
#   make package    target/package/hostward_<version>_amd64.deb
#   make bench      measurements, as a table
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

APT_PACKAGES := binutils build-essential ca-certificates cmake dpkg-dev e2fsprogs git iproute2 lintian mmdebstrap \
	openssh-client openssh-server procps python3-venv shellcheck sudo systemd-container util-linux
PROGRAMS := hostward hostward-agent hostward-apply hostward-principals
MAINTAINER_SCRIPTS := $(addprefix packaging/debian/,preinst postinst prerm postrm)
SCRIPTS := packaging/nsswitch packaging/build-deb packaging/check-glibc packaging/check-apply .ci/run \
	tests/lab/src/lab/cleanup.sh tests/lab/src/host/start.sh tests/lab/src/image/build.sh tests/lab/src/image/finish.sh

.PHONY: all fuzz sanitize demo lab lab-down test check bench package programs backend images setup apt clean-lab

all: package

# --- tools -------------------------------------------------------------------------------------------------------

setup: apt $(PYTHON)/done $(DENY)/done

apt:
	@missing=$$(for package in $(APT_PACKAGES); do \
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
	    cargo install --locked --quiet --root $(DENY) cargo-deny@$(CARGO_DENY); \
	fi
	touch $@

# --- building ----------------------------------------------------------------------------------------------------

programs: apt $(PYTHON)/done
	PATH="$$PWD/$(PYTHON)/bin:$$PATH" cargo zigbuild --locked --release --target $(TRIPLE).$(GLIBC) \
	    $(PROGRAMS:%=--package %)
	PATH="$$PWD/$(PYTHON)/bin:$$PATH" cargo zigbuild --locked --profile nss --target $(TRIPLE).$(GLIBC) \
	    --package nss-hostward
	sh nss-module/check-library.sh $(BUILT)/nss/libnss_hostward.so
	packaging/check-glibc $(GLIBC) $(PROGRAMS:%=$(BUILT)/release/%) $(BUILT)/nss/libnss_hostward.so
	packaging/check-apply $(BUILT)/release/hostward-apply

package: programs
	packaging/build-deb $(BUILT)/release $(BUILT)/nss/libnss_hostward.so target/package

backend: apt
	cargo build --locked --package hostward-mock-backend

images: apt
	cargo run --locked --quiet --package hostward-lab --bin lab -- images

# --- checking ----------------------------------------------------------------------------------------------------

check: setup programs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	shellcheck --shell=sh --severity=warning $(SCRIPTS) $(MAINTAINER_SCRIPTS)
	PATH="$$PWD/$(DENY)/bin:$$PATH" cargo deny --locked --workspace check bans licenses sources
	@# The database of advisories is not in any registry; where it cannot be reached that is said, not passed over.
	if PATH="$$PWD/$(DENY)/bin:$$PATH" cargo deny fetch db; then \
	    PATH="$$PWD/$(DENY)/bin:$$PATH" cargo deny --locked --workspace check advisories; \
	else \
	    echo "WARNING: advisories were NOT checked: their database cannot be reached from here" >&2; \
	fi

# Hosts wait more than they work: four at a time keep two cores busy.
HOST_TESTS := --package hostward-lab --package hostward-package-tests --package hostward-host-tests

test: export HOSTWARD_MOCK_BACKEND = $(CURDIR)/target/debug/hostward-mock-backend
test: package backend images
	cargo test --locked --workspace $(patsubst --package,--exclude,$(HOST_TESTS))
	cargo test --locked $(HOST_TESTS) -- --test-threads=4

# Wants a machine that does nothing else. The backend is an optimised one, or it would be what is measured.
bench: export HOSTWARD_MOCK_BACKEND = $(CURDIR)/target/release/hostward-mock-backend
bench: package images
	cargo build --locked --quiet --release --package hostward-mock-backend
	cargo run --locked --quiet --release --package hostward-bench

# --- fuzzing -----------------------------------------------------------------------------------------------------

FUZZ_SECONDS := 60
CARGO_FUZZ := 0.13.2
FUZZ := $(TOOLS)/cargo-fuzz-$(CARGO_FUZZ)

$(FUZZ)/bin/cargo-fuzz:
	cargo install --locked --quiet --root $(FUZZ) cargo-fuzz@$(CARGO_FUZZ)

# Each target for FUZZ_SECONDS. What it finds is kept in target/fuzz. The sanitizers are not stable yet, hence the bootstrap.
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: export CARGO_TARGET_DIR = $(CURDIR)/target/fuzz
fuzz: apt $(FUZZ)/bin/cargo-fuzz
	for target in account_database account_records policy entitlement ssh_agent; do \
	    mkdir -p target/fuzz/corpus/$$target; \
	    PATH="$$PWD/$(FUZZ)/bin:$$PATH" cargo fuzz run --fuzz-dir tests/fuzz $$target \
	        target/fuzz/corpus/$$target tests/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096; \
	done

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
