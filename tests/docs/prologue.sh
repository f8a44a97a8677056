# What the words of the pages mean where a test runs them: the service goes to the background, and is up before
# the next line; an answer that is an error fails its line.

service=
flux() {
  [ "${1:-}" != tune ] || { command flux "$@" --root "$HOST"; return; }
  [ "${1:-}" = run ] || { command flux "$@"; return; }
  if [ -n "$service" ]; then
    kill "$service"
    wait "$service"
  fi
  command flux "$@" >>service.log 2>&1 &
  service=$!
  until command curl -fs -o /dev/null 127.0.0.1:8001/readyz; do
    kill -0 "$service" 2>/dev/null || { cat service.log >&2; return 1; }
    sleep 0.02
  done
}
sudo() { "$@"; }
target/release/flux() { flux "$@"; }
make() {
  [ "$*" = run ] || { echo "make $* is no page's command here" >&2; return 1; }
  flux run
}
curl() { command curl --fail-with-body -sS "$@"; }
EDITOR=true
trap '[ -z "$service" ] || kill "$service"' EXIT
