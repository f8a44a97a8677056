#!/usr/bin/env bash
# Breaks the code on purpose: applies each tests/mutants/*.patch to a throwaway worktree of HEAD, runs the
# tests its `Tests:` line names, and shows which of them noticed. A mutant that survives fails this script.
#
# A patch file starts with two lines of prose, then the diff:
#   Breaks: what rule the change violates
#   Tests: arguments for `cargo nextest run` (say, --lib dedup:: or --test http_wire)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
shopt -s nullglob
patches=(tests/mutants/*.patch)
[ "${#patches[@]}" -gt 0 ] || { echo "mutants: no tests/mutants/*.patch" >&2; exit 1; }

work=$(mktemp -d)
cleanup() {
  git -C "$root" worktree remove --force "$work/tree" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
git worktree add --quiet --detach "$work/tree" HEAD
# One build folder for all mutants: only the crate itself is rebuilt. Never the working one: cargo tells the
# two trees apart by file times alone, and would later take a mutant for the real program.
export CARGO_TARGET_DIR=${MUTANTS_TARGET_DIR:-$root/target/mutants}

survived=0
run_tests() { # arguments of nextest
  (cd "$work/tree" && cargo nextest run --profile quick --color never "$@") >"$work/log" 2>&1
}

for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  breaks=$(sed -nE 's/^Breaks: //p' "$patch")
  tests=$(sed -nE 's/^Tests: //p' "$patch")
  if [ -z "$breaks" ] || [ -z "$tests" ]; then
    echo "mutants: $name: needs a Breaks: and a Tests: line" >&2
    exit 1
  fi
  read -ra arguments <<<"$tests"
  if ! git -C "$work/tree" apply "$root/$patch" 2>"$work/log"; then
    echo "STALE     $name: the patch no longer applies: $(head -n 1 "$work/log")"
    survived=$((survived + 1))
    continue
  fi
  if run_tests "${arguments[@]}"; then
    echo "SURVIVED  $name: $breaks"
    survived=$((survived + 1))
  elif ! grep -qE '^ +(FAIL|TIMEOUT|SIG[A-Z]+) \[' "$work/log"; then
    # No test failed and yet the run did: it does not compile, which proves nothing.
    echo "INVALID   $name: $(grep -m1 -E '^error' "$work/log" || tail -n 1 "$work/log")"
    survived=$((survived + 1))
  else
    echo "caught    $name: $breaks"
    grep -E '^ +(FAIL|TIMEOUT|SIG[A-Z]+) \[' "$work/log" | sed -E 's/^ +[A-Z]+ \[[^]]*\] *(\([^)]*\) *)?/            by /' | sort -u
  fi
  git -C "$work/tree" checkout --quiet -- . && git -C "$work/tree" clean -fdq
done
[ "$survived" -eq 0 ] || { echo "mutants: $survived of ${#patches[@]} not caught" >&2; exit 1; }
echo "mutants: all ${#patches[@]} caught"
