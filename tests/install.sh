#!/usr/bin/env bash
# Installs what the tests run against, from Debian's own packages, and cargo-nextest. Does nothing,
# quickly, when everything is there. The services that these packages would start are kept from starting.
set -euo pipefail

# program → the Debian package that brings it
needs=(
  redis-server:redis-server
  carbon-cache:graphite-carbon
  graphite-manage:graphite-web
  prometheus:prometheus
  openssl:openssl
  nginx:nginx-light
  apache2:apache2
  wrk:wrk
  curl:curl
  taskset:util-linux
  prlimit:util-linux
  git:git
  cc:gcc
  ip:iproute2
  nft:nftables
  chromium:chromium
  mkfs.ext4:e2fsprogs
  losetup:mount
)

missing=()
for need in "${needs[@]}"; do
  # Debian's daemons live in sbin, which a plain user's PATH leaves out.
  PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
# Debian's own interpreter: the one that has the whisper and requests modules (a pyenv shim may come first in PATH).
/usr/bin/python3 -c 'import whisper' 2>/dev/null || missing+=(python3 python3-whisper)
/usr/bin/python3 -c 'import requests' 2>/dev/null || missing+=(python3 python3-requests)

if [ "${#missing[@]}" -gt 0 ]; then
  echo "install: installing from Debian's packages: ${missing[*]}"
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
  "${apt[@]}" -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! cargo nextest --version >/dev/null 2>&1; then
  echo "install: cargo-nextest is missing: cargo install cargo-nextest --locked"
  # Outside the project, so that its pinned toolchain and build folder do not apply.
  (cd / && env -u CARGO_TARGET_DIR cargo install cargo-nextest --locked --quiet)
fi
