#!/usr/bin/env bash
# What the journal costs: the same load with each durability, in turn, several rounds, and the medians side by
# side. In turn, because a machine drifts; medians, because it is noisy.
#
#   loadtest/durability.sh [single|batch]...    ROUNDS=5 SECONDS_EACH=5, and what run.sh takes
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-5}
export SECONDS_EACH=${SECONDS_EACH:-5}
modes=("$@")
[ "${#modes[@]}" -gt 0 ] || modes=(single batch)
choices=(memory journal fsync)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for mode in "${modes[@]}"; do
  for round in $(seq "$rounds"); do
    for choice in "${choices[@]}"; do
      echo "durability: $mode, round $round of $rounds, $choice" >&2
      DURABILITY=$choice loadtest/run.sh "$mode" >"$work/run" || { cat "$work/run" >&2; exit 1; }
      # CPU us per request, and p99 in us.
      sed -nE 's|.*flux CPU +([0-9.]+) us/request.*|\1|p' "$work/run" >>"$work/$mode.$choice.cpu"
      sed -nE 's|.*p99 ([0-9]+) us.*|\1|p' "$work/run" >>"$work/$mode.$choice.p99"
      sed -nE 's|.*rate +([0-9]+) requests.*|\1|p' "$work/run" >>"$work/$mode.$choice.rate"
    done
  done
done

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
range() { sort -n "$1" | awk 'NR == 1 { low = $1 } { high = $1 } END { print low "-" high }'; }

printf '%-7s %-8s %12s %14s %8s %10s %14s %12s\n' load choice 'CPU us/req' '(range)' 'ratio' 'p99 us' '(range)' 'requests/s'
for mode in "${modes[@]}"; do
  base=$(median "$work/$mode.memory.cpu")
  for choice in "${choices[@]}"; do
    at="$work/$mode.$choice"
    cpu=$(median "$at.cpu")
    printf '%-7s %-8s %12s %14s %8s %10s %14s %12s\n' "$mode" "$choice" "$cpu" "$(range "$at.cpu")" \
      "$(awk -v a="$cpu" -v b="$base" 'BEGIN { printf "%.3f", a / b }')" \
      "$(median "$at.p99")" "$(range "$at.p99")" "$(median "$at.rate")"
  done
done
