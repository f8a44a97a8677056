#!/usr/bin/env bash
# What populate costs live points: batches of 450 at a fixed offered rate, in turn with and without jobs whose
# histories are fetched and sent meanwhile, several rounds, and the medians side by side.
#
# One shard on FLUX_CPU; the populate core with its fetches, the load, the sink and the remote on LOAD_CPU.
# The CPU of live points is the shard's executor's alone, by its thread.
#
#   loadtest/populate.sh      ROUNDS=5 SECONDS_EACH=10 JOBS=100 POINTS=130000 FLUX_CPU=0 LOAD_CPU=1
#                             RATE= requests a second; unset: half of what closed loops reach first
#                             OFFER_WITH="chrt -f 2" SINK_WITH="chrt -f 1" lets the load and the blackhole, which stand for
#                             other machines, go before the others on their CPU, so that their waiting for it is not
#                             taken for the service's (needs root)
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-10}
jobs=${JOBS:-100}
points=${POINTS:-130000}
flux_cpu=${FLUX_CPU:-0}
load_cpu=${LOAD_CPU:-1}
rate=${RATE:-}
offer_with=${OFFER_WITH:-}
sink_with=${SINK_WITH:-}
target=${CARGO_TARGET_DIR:-target}
key=abcdefghijklmnopqrstuvwxyz012345

for tool in curl taskset; do
  command -v "$tool" >/dev/null || { echo "populate: $tool is missing: run tests/install.sh" >&2; exit 1; }
done
[ "$(nproc)" -gt 1 ] || { echo "populate: needs two CPUs" >&2; exit 1; }

cargo build --release --quiet --workspace --bins
load=$target/release/loadtest

work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

fail() { echo "populate: FAILED: $*" >&2; exit 1; }

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
    curl -fsS -o /dev/null "$2" 2>/dev/null && return
    sleep 0.05
  done
  fail "$1 is not there after 10 s: $(tail -n 3 "$work"/*.log)"
}

metric() { # name with its labels
  curl -fsS "http://127.0.0.1:$admin/metrics" | awk -v name="$1" '$1 == name { print $2 }'
}

# The oldest thread whose name begins so is the executor; the others are its helpers.
executor() { # pid, name
  local task
  for task in $(ls "/proc/$1/task" | sort -n); do
    case "$(cat "/proc/$1/task/$task/comm")" in "$2"*) echo "$task"; return ;; esac
  done
  fail "no thread $2: $(cat "/proc/$1"/task/*/comm | sort | uniq -c)"
}

# User and system time in ticks: of one thread, and of the process.
thread_ticks() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/task/$2/stat"; }
process_ticks() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }

start() {
  http=$(free_port) admin=$(free_port) carbon=$(free_port) report=$(free_port)
  rm -rf "$work/data"
  cat >"$work/flux.toml" <<TOML
data_dir = "$work/data"
http.listen = "127.0.0.1:$http"
admin.listen = "127.0.0.1:$admin"
keys.self = "$key"
carbon.endpoint = "127.0.0.1:$carbon"
cpu.shards = 1
cpu.populate_core = $load_cpu
TOML
  taskset -c "$load_cpu" $sink_with "$load" blackhole "$carbon" "$report" 2>"$work/sink.log" &
  sink=$!
  "$target/release/flux" run --config "$work/flux.toml" >"$work/flux.log" 2>&1 &
  flux=$!
  pids+=("$sink" "$flux")
  wait_http sink "http://127.0.0.1:$report/"
  wait_http flux "http://127.0.0.1:$admin/readyz"
  shard_thread=$(executor "$flux" shard-0)
  # The shard's place is its own choice; it must be the one we mean.
  taskset -cp "$flux_cpu" "$shard_thread" >/dev/null
}

stop() {
  kill -9 "$flux" && wait "$flux" 2>/dev/null || true
  kill "$sink" && wait "$sink" 2>/dev/null || true
}

offer() { # rate
  local from=$(($(date +%s) - 3000))
  taskset -c "$load_cpu" $offer_with "$load" generate --port "$http" --connections 8 \
    --rate "$1" --seconds "$seconds" --from "$from"
}

post_jobs() {
  local index status
  for index in $(seq "$jobs"); do
    status=$(curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.1:$http/populate_metric" --data-binary @- <<JSON
{"remote_host_type": "graphite", "remote_target": "t$index", "metric": "history.m$index", "namespace_prefix": "",
 "key": "$key", "fetch_resolution_urls": ["http://127.0.0.1:$history/render/?target=$index"]}
JSON
    )
    [ "$status" = 204 ] || fail "job $index: $status"
  done
}

field() { sed -E "s/.*\"$1\":([0-9.]+).*/\1/" "$work/offer"; }

round() { # with|without
  local shard whole
  start
  shard=$(thread_ticks "$flux" "$shard_thread")
  whole=$(process_ticks "$flux")
  [ "$1" = without ] || post_jobs
  offer "$rate" >"$work/offer"
  shard=$(($(thread_ticks "$flux" "$shard_thread") - shard))
  whole=$(($(process_ticks "$flux") - whole))
  [ "$(field refused)" -eq 0 ] && [ "$(field errors)" -eq 0 ] || fail "$(cat "$work/offer")"
  local n hz
  n=$(($(field requests) * 450)) hz=$(getconf CLK_TCK)
  awk -v t="$shard" -v hz="$hz" -v n="$n" 'BEGIN { printf "%.4f\n", t / hz * 1e6 / n }' >>"$work/$1.shard"
  awk -v t="$whole" -v hz="$hz" -v n="$n" 'BEGIN { printf "%.4f\n", t / hz * 1e6 / n }' >>"$work/$1.whole"
  field p50 >>"$work/$1.p50"
  field p99 >>"$work/$1.p99"
  metric flux_populate_points_total >>"$work/$1.moved"
  stop
}

history=$(free_port)
taskset -c "$load_cpu" "$load" remote "$history" "$points" 2>"$work/history.log" &
pids+=("$!")
wait_http history "http://127.0.0.1:$history/"

if [ -z "$rate" ]; then
  start
  offer 0 >"$work/offer"
  stop
  rate=$(awk -v n="$(field requests)" -v s="$(field seconds)" 'BEGIN { printf "%d", n / s / 2 }')
fi
echo "populate: $rate requests/s of 450 points offered, $rounds rounds of $seconds s, $jobs jobs of $points points" >&2
for n in $(seq "$rounds"); do
  for kind in without with; do
    echo "populate: round $n of $rounds, $kind jobs" >&2
    round "$kind"
  done
done

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
range() { sort -n "$1" | awk 'NR == 1 { low = $1 } { high = $1 } END { print low "-" high }'; }

printf '%-26s %10s %18s %10s %18s %7s\n' "offered $((rate * 450)) points/s" without '(range)' with '(range)' ratio
for row in 'shard:shard CPU us/point' 'whole:process CPU us/point' 'p50:p50 us' 'p99:p99 us' 'moved:points of jobs moved'; do
  name=${row%%:*}
  a=$(median "$work/without.$name") b=$(median "$work/with.$name")
  printf '%-26s %10s %18s %10s %18s %7s\n' "${row#*:}" "$a" "$(range "$work/without.$name")" "$b" "$(range "$work/with.$name")" \
    "$(awk -v a="$a" -v b="$b" 'BEGIN { if (a > 0) printf "%.3f", b / a; else print "-" }')"
done
