#!/usr/bin/env bash
# Makes the offline bundle: one archive of the packages, their bill of materials, the documentation and what installs an
# agent, with checksums of everything; and its signature.
#
#   PALISADE_SIGN_KEY=~/.ssh/release packaging/bundle.sh [PACKAGES]
#
# The key is one of ssh-keygen's (or of a security token that ssh knows); without one the bundle is not signed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$repo"

packages=${1:-$CARGO_TARGET_DIR/packages}
[ -e "$packages/SHA256SUMS" ] || die "there are no packages in $packages: make packages builds them"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
bundle=$packages/../palisade-bundle-$version-x86_64.tar

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
(cd "$packages" && sha256sum --quiet --check --strict SHA256SUMS)
find "$packages" -maxdepth 1 -type f ! -name SHA256SUMS -exec cp -t "$work" {} +
cp docs/*.md packaging/install-agent.sh "$work"
(cd "$work" && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum) >"$work.sums"
mv "$work.sums" "$work/SHA256SUMS"
chmod 644 "$work"/*
tar -c --format=ustar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -f "$bundle" -C "$work" .
rm -f "$bundle.sig"
if [ -n "${PALISADE_SIGN_KEY:-}" ]; then
    ssh-keygen -q -Y sign -f "$PALISADE_SIGN_KEY" -n palisade-bundle "$bundle"
    say "signed: $(realpath "$bundle").sig"
else
    say "NOT SIGNED: set PALISADE_SIGN_KEY to a key of ssh-keygen"
fi
say "bundle: $(realpath "$bundle")"
