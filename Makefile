# The index of the project: every way to run, test and measure it is a verb here.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test check faults bench load fuzz doc mutants deb dist image

FUZZ_SECONDS ?= 60
# Instructions are counted as a CPU of the last ten years executes them (x86-64-v3: what callgrind knows too). Other flags
# make other code, so these builds have a folder of their own.
BENCH := $(if $(filter x86_64,$(shell uname -m)),RUSTFLAGS="-C target-cpu=x86-64-v3") CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-target}/bench" cargo bench

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

run: ## build and serve on the embedded defaults (127.0.0.1:8000, data in ./flux-data)
	cargo build --release
	exec "$${CARGO_TARGET_DIR:-target}/release/flux" run

test: ## everything that must hold: format, lints, unit, black-box and doc tests (installs what they need)
	@tests/all.sh

check: ## what does not need to run: format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

faults: ## every fault scenario in its long form (20 minutes, as root), and the table for docs/reliability.md
	@tests/faults.sh

bench: ## instructions and allocations per point and request beside their targets, and each stage with its throughput
	@command -v valgrind >/dev/null || echo "bench: without valgrind no instruction is counted: run tests/install.sh" >&2
	$(BENCH) --no-run --bench core --bench stages
	$(BENCH) --bench stages
	@$(BENCH) --quiet --bench core -- $(if $(KEEP),--keep) $(if $(PROFILE),--profile "$(PROFILE)")

load: ## measured beside nginx and VictoriaMetrics, with a report (15 minutes; EXPERIMENT="single batch": some of it)
	@loadtest/run.sh $(EXPERIMENT)

fuzz: ## each fuzz target for FUZZ_SECONDS (60); needs a nightly toolchain and cargo-fuzz
	for target in $$(cargo +nightly fuzz list); do \
	  cargo +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

deb: ## the Debian package (target/packaging), from a release build; needs cargo-deb
	cargo build --release
	packaging/deb.sh release

dist: ## a tarball of the release build with units, pages and completions
	cargo build --release
	packaging/dist.sh

image: ## a container image of the release build; how to run it is in packaging/Containerfile
	cargo build --release
	podman build --file packaging/Containerfile --tag flux .

doc: ## the API documentation, with broken links as errors
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items

mutants: ## break the code on purpose, one patch at a time, and show which test notices
	tests/mutants.sh
