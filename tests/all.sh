#!/usr/bin/env bash
# `make test`: every step in order of cost, the first failure ends it, one summary line at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
report=$(mktemp)
# What this machine could not do, one line each.
FLUX_SKIPPED=$(mktemp)
export FLUX_SKIPPED
step=start
finish() {
  local status=$?
  rm -f "$report" "$FLUX_SKIPPED"
  [ "$status" -eq 0 ] || echo "make test: FAILED at: $step (after $((SECONDS - started)) s)"
}
trap finish EXIT

step='install (tests/install.sh)'
tests/install.sh

step='format (cargo fmt)'
cargo fmt --all --check

step='lints (cargo clippy)'
cargo clippy --workspace --all-targets --quiet -- -D warnings

step='tests (cargo nextest)'
# Its own colours are kept off: the counts are read back from the text for the summary line.
cargo nextest run --workspace --color never 2>&1 | tee "$report"
counts=$(sed -nE 's/^ *Summary \[[^]]*\] *//p' "$report" | tail -n 1)

step='documentation examples (cargo test --doc)'
cargo test --doc --workspace --quiet

step='the package on a clean Debian (tests/debian.sh)'
tests/debian.sh

skipped=$(wc -l <"$FLUX_SKIPPED")
sed 's/^/skipped: /' "$FLUX_SKIPPED"
echo "make test: ok, ${counts:-no count found}, the doc tests and a clean Debian, $skipped scenarios left out, in $((SECONDS - started)) s"
