#!/usr/bin/env bash
# `make faults`: every fault scenario in its long form, then the table of what came of them, in Markdown.
# It goes to TABLE too, if that names a file. A loss, an invention or a scenario that was skipped fails it.
#
#   tests/faults.sh [nextest filter]      all of them, or those that the filter selects
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
tests/install.sh

# Beside the scenarios with books: what looks at single answers under the same faults, and refused starts.
others='binary(store_faults) or binary(overload) or binary(shutdown) or binary(preflight)'
filter=${1:-"binary(faults) or $others or (binary(mesh) and test(stands_still))"}

rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
status=0
FLUX_FAULTS=full FLUX_FAULTS_TABLE=$rows \
  cargo nextest run --profile faults --color never -E "$filter" || status=$?

{
  echo "$(date -u +%F), $(git rev-parse --short HEAD), Linux $(uname -r), $(nproc) CPUs, $((SECONDS - started)) s: \`make faults\`"
  echo
  echo '| scenario | seeds | points acked | delivered | lost | repeated | time to recover |'
  echo '|---|---|---|---|---|---|---|'
  sort "$rows"
} | tee "${TABLE:-/dev/null}"

if grep -q SKIPPED "$rows"; then
  echo 'faults: something was skipped' >&2
  status=1
fi
[ "$status" -eq 0 ] || { echo "faults: FAILED after $((SECONDS - started)) s" >&2; exit "$status"; }
echo "faults: ok in $((SECONDS - started)) s"
