#!/usr/bin/env bash
# The package on a clean Debian that runs its own systemd: makes two versions of it from the dev build, a minimal root
# from the archive that apt is configured with, and runs tests/debian.rs in it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

skip() {
  if [ "$(id -u)" -eq 0 ] && [ -e /dev/loop-control ]; then
    echo "debian: FAILED: left out where it could be done: $1" >&2
    exit 1
  fi
  echo "skipped: the package on a clean Debian: $1"
  [ -z "${FLUX_SKIPPED:-}" ] || echo "the package on a clean Debian: $1" >>"$FLUX_SKIPPED"
  exit 0
}

took() {
  echo "debian: $1, $((SECONDS - began)) s"
  began=$SECONDS
}

[ "$(id -u)" -eq 0 ] || skip 'needs root'
for program in mmdebstrap systemd-nspawn dpkg-shlibdeps; do
  command -v "$program" >/dev/null || skip "needs $program"
done

# Mounts of our own: they end with us.
[ "${1:-}" = inside ] || exec unshare --mount "$PWD/tests/debian.sh" inside
began=$SECONDS

cargo build --bin flux --quiet
for revision in 1 2; do packaging/deb.sh dev "$revision" --fast >/dev/null; done
took "two packages of $(du -h "$target/packaging/flux_1.deb" | cut -f1)"

# Made once in a build folder; every run has its own layer above it.
base=$target/debian-root
if [ ! -e "$base/sbin/init" ]; then
  rm -rf "$base"
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  apt-get indextargets --format 'deb $(SITE) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    mmdebstrap --quiet --mode=root --variant=minbase --include=systemd,systemd-sysv,adduser "$codename" "$base.new" -
  mv "$base.new" "$base"
fi
took "a root of $(du -sh "$base" | cut -f1)"

layers=$(mktemp -d)
trap 'umount --recursive "$layers" && rmdir "$layers"' EXIT
mount -t tmpfs -o size=1g tmpfs "$layers"
mkdir "$layers"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$base,upperdir=$layers/upper,workdir=$layers/work" "$layers/root"
cp "$target"/packaging/flux_{1,2}.deb "$layers/root/root/"
FLUX_DEBIAN_ROOT=$layers/root cargo nextest run --test debian --run-ignored all --no-capture --color never 2>&1 |
  grep -v '^ *\(Compiling\|Finished\)'
umount "$layers/root"
took 'installed, pointed at Redis and carbon, restarted and upgraded under load, purged'
