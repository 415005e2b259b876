#!/usr/bin/env bash
# What is shipped, tried as it is shipped: built twice and compared byte for byte, then installed on machines.
#
#   packaging/acceptance.sh            all of it
#   packaging/acceptance.sh --short    what `make test` runs: the debug programs, the main steps
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$repo" || exit 1

if [ "${1-}" = --short ]; then
    packages=$CARGO_TARGET_DIR/packages-debug
    if ! packaging/build.sh --profile debug >"$CARGO_TARGET_DIR/packages-debug.log" 2>&1; then
        cat "$CARGO_TARGET_DIR/packages-debug.log"
        die "the packages do not build"
    fi
    exec python3 packaging/acceptance.py --short --profile debug --cache "$cache" "$packages"
fi

scripts/setup.sh packages || exit 1
packages=$CARGO_TARGET_DIR/packages
packaging/build.sh || die "the packages do not build"
packaging/build.sh --revision 2 --out "$packages-upgrade" >/dev/null || die "the packages of revision 2 do not build"

# In another place, from nothing; the time of the commit is in the packages, so it must still be this one.
commit=$(git rev-parse HEAD)
say "building everything a second time, elsewhere"
second=$(mktemp -d /var/tmp/palisade-second-XXXXXX)
trap 'rm -rf "$second"' EXIT
CARGO_TARGET_DIR=$second/target packaging/build.sh --out "$second/packages" >"$second/log" 2>&1 ||
    { tail -n 40 "$second/log"; die "the second build failed"; }
[ "$(git rev-parse HEAD)" = "$commit" ] || die "there is a new commit since the first build: start again"
if ! cmp "$packages/SHA256SUMS" "$second/packages/SHA256SUMS"; then
    diff "$packages/SHA256SUMS" "$second/packages/SHA256SUMS"
    die "two builds of one commit differ"
fi
say "reproducible: two builds in two places are the same, byte for byte"
rm -rf "$second"

log=$CARGO_TARGET_DIR/acceptance-output.txt
python3 packaging/acceptance.py --cache "$cache" --upgrade "$packages-upgrade" "$packages" 2>&1 | tee "$log"
python3 scripts/summary.py "${PIPESTATUS[0]}" "$log"
