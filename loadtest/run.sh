#!/usr/bin/env bash
# The door of the load test: installs what it needs, builds, and hands over to the runner (loadtest/src).
#
#   loadtest/run.sh [EXPERIMENT]... [--rounds N] [--seconds S]      all of loadtest/experiments without a name
set -euo pipefail
cd "$(dirname "$0")/.."
tests/install.sh load
cargo build --release --quiet --workspace --bins
exec "${CARGO_TARGET_DIR:-target}/release/loadtest" run "$@"
