#!/usr/bin/env bash
# wrk → flux → decoding sink, one shard on one CPU and everything else on another, for single points and
# for batches of 450. Prints what it measured, and fails when an answer was not 2xx or the sink did not
# receive exactly what was accepted.
#
#   loadtest/run.sh [single|batch]...     SECONDS_EACH=30 CONNECTIONS=32 FLUX_CPU=0 LOAD_CPU=1 SHARDS=1 DURABILITY=journal
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-30}
connections=${CONNECTIONS:-32}
flux_cpu=${FLUX_CPU:-0}
load_cpu=${LOAD_CPU:-1}
shards=${SHARDS:-1}
durability=${DURABILITY:-journal}
modes=("$@")
[ "${#modes[@]}" -gt 0 ] || modes=(single batch)
target=${CARGO_TARGET_DIR:-target}
export LOAD_DIR=loadtest LOAD_KEY=abcdefghijklmnopqrstuvwxyz012345

for tool in wrk curl taskset; do
  command -v "$tool" >/dev/null || { echo "load: $tool is missing: run tests/install.sh" >&2; exit 1; }
done
[ "$(nproc)" -gt 1 ] || { echo "load: needs two CPUs, one for flux and one for the load" >&2; exit 1; }

cargo build --release --quiet --bin flux --example sink

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

fail() { echo "load: FAILED: $*" >&2; exit 1; }

# A port below the range for outgoing connections that nobody listens on.
free_port() {
  local port
  while :; do
    port=$((10000 + RANDOM % 20000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
}

wait_http() { # what, url
  for _ in $(seq 200); do
    curl -fsS -o "$work/answer" "$2" 2>/dev/null && return
    sleep 0.05
  done
  fail "$1 is not there after 10 s: $(tail -n 3 "$work"/*.log)"
}

scrape() { # file
  curl -fsS -o "$1" "http://127.0.0.1:$admin/metrics"
}

metric() { # name, file: the sum of its series
  awk -v name="$1" '{ series = $1; sub(/\{.*/, "", series) } series == name { sum += $NF } END { printf "%.0f", sum }' "$2"
}

grown() { # name: from the scrape before to the one after
  echo $(($(metric "$1" "$work/after") - $(metric "$1" "$work/before")))
}

sunk() {
  curl -fsS -o "$work/sink.txt" "http://127.0.0.1:$report/"
  sed -E 's/.*matching=([0-9]+).*/\1/' "$work/sink.txt"
}

cpu_ticks() { # pid: user + system
  awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

measure() { # mode
  local mode=$1
  http=$(free_port) admin=$(free_port) carbon=$(free_port) report=$(free_port)
  cat >"$work/flux.toml" <<TOML
data_dir = "$work/data-$mode"
http.listen = "127.0.0.1:$http"
admin.listen = "127.0.0.1:$admin"
keys.self = "$LOAD_KEY"
carbon.endpoint = "127.0.0.1:$carbon"
cpu.shards = $shards
journal.durability = "$durability"
TOML
  taskset -c "$load_cpu" "$target/release/examples/sink" "$carbon" "$report" load. 2>"$work/sink.log" &
  local sink_pid=$!
  pids+=("$sink_pid")
  wait_http sink "http://127.0.0.1:$report/"
  taskset -c "$flux_cpu" "$target/release/flux" run --config "$work/flux.toml" >"$work/flux.log" 2>&1 &
  local flux_pid=$!
  pids+=("$flux_pid")
  wait_http flux "http://127.0.0.1:$admin/readyz"

  local ticks
  scrape "$work/before"
  ticks=$(cpu_ticks "$flux_pid")
  taskset -c "$load_cpu" wrk -t1 -c"$connections" -d"${seconds}s" \
    -s "loadtest/$mode.lua" "http://127.0.0.1:$http/metric_data_post" >"$work/wrk.log" ||
    fail "wrk: $(cat "$work/wrk.log")"
  ticks=$(($(cpu_ticks "$flux_pid") - ticks))

  # wrk hangs up on what is under way and the queue is still draining: wait until the sink has what was
  # accepted, for as long as it comes closer.
  local last=-1 still=0 now
  while [ "$still" -lt 60 ]; do
    scrape "$work/after"
    now=$(sunk)
    [ "$now" -eq "$(metric flux_points_accepted_total "$work/after")" ] && break
    if [ "$now" -eq "$last" ]; then still=$((still + 1)); else still=0; fi
    last=$now
    sleep 0.05
  done
  local accepted duplicate received
  accepted=$(grown flux_points_accepted_total)
  duplicate=$(grown flux_points_duplicate_total)
  received=$(grown flux_points_received_total)

  local line requests took non2xx errors p50 p99
  line=$(grep '^LOAD ' "$work/wrk.log") || fail "wrk printed no summary: $(cat "$work/wrk.log")"
  read -r requests took non2xx errors p50 p99 < <(sed -E 's/[a-zA-Z0-9_]+=//g; s/^LOAD //' <<<"$line")
  awk -v mode="$mode" -v n="$requests" -v s="$took" -v acc="$accepted" -v rec="$received" \
    -v dup="$duplicate" -v ticks="$ticks" -v hz="$(getconf CLK_TCK)" -v p50="$p50" -v p99="$p99" \
    -v conns="$connections" -v shards="$shards" -v durability="$durability" 'BEGIN {
      us = ticks / hz * 1e6
      printf "%-7s %d shard(s), %d connections, durability %s, %.1f s\n", mode, shards, conns, durability, s
      printf "  rate           %d requests/s, %d points/s\n", n / s, acc / s
      printf "  latency        p50 %d us, p99 %d us\n", p50, p99
      printf "  new points     %.2f %% of %d received (%d duplicates)\n", rec ? 100 * acc / rec : 0, rec, dup
      printf "  flux CPU       %.2f us/request, %.3f us/point, %.0f %% of one CPU\n",
        us / (n ? n : 1), us / (acc ? acc : 1), us / s / 1e4
    }'
  echo "  sink           $(cat "$work/sink.txt")"
  echo "  errors         non2xx=$non2xx socket_errors=$errors"

  [ "$non2xx" -eq 0 ] || fail "$non2xx answers were not 2xx"
  [ "$errors" -eq 0 ] || fail "$errors socket errors"
  [ "$requests" -gt 0 ] || fail "no request was answered"
  [ "$now" -eq "$accepted" ] || fail "the sink has $now points, flux accepted $accepted"
  grep -q 'faults=0' "$work/sink.txt" || fail "the sink met a stream that is not frames: $(cat "$work/sink.log")"
  [ $((accepted * 100)) -ge $((received * 95)) ] || fail "under 95 % of the points were new: not a fair load"

  kill -TERM "$flux_pid"
  wait "$flux_pid" || fail "flux ended with status $?"
  kill "$sink_pid"
  wait "$sink_pid" 2>/dev/null || true
  pids=()
}

for mode in "${modes[@]}"; do
  measure "$mode"
done
