#!/usr/bin/env bash
# The Debian package of a binary that is built: packaging/deb.sh [PROFILE [REVISION [FLAG …]]]. Prints its path.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
revision=${2:-1}
shift $(($# > 2 ? 2 : $#))
folder=$profile
[ "$profile" != dev ] || folder=debug
target=${CARGO_TARGET_DIR:-target}
packaging/stage.sh "$target/$folder/flux"
out="$target/packaging/flux_$revision.deb"
cargo deb --quiet --no-build --profile "$profile" --deb-revision "$revision" --output "$out" "$@" >&2
echo "$out"
