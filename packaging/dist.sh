#!/usr/bin/env bash
# A tarball of the release build: the binary, stripped, with its man page, completions, units and pages. Says which
# libc it needs and what else it links.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
binary=$target/release/flux
packaging/stage.sh "$binary"
name=flux-$("$binary" --version | cut -d' ' -f2)-$(uname -m)-linux-gnu
root=$target/packaging/$name
rm -rf "$root"
mkdir -p "$root/bin" "$root/share"
strip -o "$root/bin/flux" "$binary"
cp -r tuning "$root/tuning"
cp packaging/flux.toml README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$root/"
cp -r docs "$root/docs"
cp "$target"/packaging/{flux.1,flux.bash,_flux,flux.fish} "$root/share/"
tar -C "$target/packaging" --owner=0 --group=0 --sort=name -czf "$target/packaging/$name.tar.gz" "$name"
glibc=$(objdump -T "$root/bin/flux" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -n 1)
echo "$target/packaging/$name.tar.gz ($(du -h "$target/packaging/$name.tar.gz" | cut -f1))"
echo "needs glibc ${glibc#GLIBC_} or newer, and links:"
ldd "$root/bin/flux" | sed 's/ (0x[0-9a-f]*)//'
