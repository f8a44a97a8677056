#!/usr/bin/env bash
# Installs what the tests run against, from Debian's own packages, and cargo-nextest. Does nothing,
# quickly, when everything is there. The services that these packages would start are kept from starting.
#
#   tests/install.sh [load]      load: only what the load test needs
set -euo pipefail

# program → the Debian package that brings it
needs=(
  nginx:nginx-light
  wrk:wrk
  git:git
  taskset:util-linux
  setpriv:util-linux
  cc:gcc
)
[ "${1:-}" = load ] || needs+=(
  chromium:chromium
  redis-server:redis-server
  carbon-cache:graphite-carbon
  graphite-manage:graphite-web
  prometheus:prometheus
  openssl:openssl
  apache2:apache2
  curl:curl
  prlimit:util-linux
  ip:iproute2
  nft:nftables
  chromium:chromium
  mkfs.ext4:e2fsprogs
  losetup:mount
  mmdebstrap:mmdebstrap
  systemd-analyze:systemd
  systemd-nspawn:systemd-container
  dpkg-shlibdeps:dpkg-dev
  man:man-db
  valgrind:valgrind
)

missing=()
for need in "${needs[@]}"; do
  # Debian's daemons live in sbin, which a plain user's PATH leaves out.
  PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
if [ "${1:-}" != load ]; then
  # Debian's own interpreter: the one that has the whisper and requests modules (a pyenv shim may come first in PATH).
  /usr/bin/python3 -c 'import whisper' 2>/dev/null || missing+=(python3 python3-whisper)
  /usr/bin/python3 -c 'import requests' 2>/dev/null || missing+=(python3 python3-requests)
  /usr/bin/python3 -c 'import seccomp' 2>/dev/null || missing+=(python3 python3-seccomp)
fi

# Only compared with: a distribution that does not have it has a shorter table.
if [ "${1:-}" = load ] && ! command -v victoria-metrics >/dev/null; then
  optional=(victoria-metrics)
else
  optional=()
fi

if [ "${#missing[@]}" -gt 0 ] || [ "${#optional[@]}" -gt 0 ]; then
  echo "install: installing from Debian's packages: ${missing[*]} ${optional[*]}"
  if [ "${#missing[@]}" -eq 0 ] && { ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; }; then
    echo "install: ${optional[*]} can be installed as root, and is done without for now"
    exit 0
  fi
  if ! command -v apt-get >/dev/null; then
    echo "install: no apt-get here; install these yourself: ${missing[*]}" >&2
    exit 1
  fi
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      sudo=(sudo -n)
    else
      echo "install: not root. Run once as root: apt-get install --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
  fi
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    # 101 is "forbidden by policy": the packages' postinst then starts no service. Gone when we are done.
    trap '"${sudo[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod 755 "$policy"
  fi
  # Through env, because sudo drops the caller's environment.
  apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
  "${apt[@]}" update
  [ "${#missing[@]}" -eq 0 ] || "${apt[@]}" -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" >/dev/null
  [ "${#optional[@]}" -eq 0 ] || "${apt[@]}" -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${optional[@]}" >/dev/null ||
    echo "install: done without ${optional[*]}"
fi

if [ "${1:-}" != load ] && ! cargo nextest --version >/dev/null 2>&1; then
  echo "install: cargo-nextest is missing: cargo install cargo-nextest --locked"
  # Outside the project, so that its pinned toolchain and build folder do not apply.
  (cd / && env -u CARGO_TARGET_DIR cargo install cargo-nextest --locked --quiet)
fi

if ! cargo deb --version >/dev/null 2>&1; then
  echo "install: cargo-deb is missing: cargo install cargo-deb"
  # Without its optimisation and xz, which cost more than they bring for a few packages a day.
  (cd / && env -u CARGO_TARGET_DIR cargo install cargo-deb --locked --quiet --debug --no-default-features --features gzip)
fi
