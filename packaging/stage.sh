#!/usr/bin/env bash
# What the packages hold beside the binary and files of this repository: the man page and the completions that the
# binary itself prints. Takes the binary; writes target/packaging/.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1
out=${CARGO_TARGET_DIR:-target}/packaging
mkdir -p "$out"
"$binary" man >"$out/flux.1"
"$binary" completions bash >"$out/flux.bash"
"$binary" completions zsh >"$out/_flux"
"$binary" completions fish >"$out/flux.fish"
