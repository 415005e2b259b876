#!/usr/bin/env bash
# Whether the SSH library that is kept here is its release plus our patch, and nothing else: what is left when the patch
# is taken back must be the release, by its digest in session/vendor/russh.sha256.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

vendor=$repo/session/vendor
base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
cp -R "$vendor/russh/." "$base"
patch --reverse --strip=1 --batch --silent --fuzz=0 --directory="$base" <"$vendor/russh.patch" ||
    die "session/vendor/russh.patch is not what was done to session/vendor/russh: write it anew (session/vendor/README.md)"
digest=$(cd "$base" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
[ "$digest" = "$(cat "$vendor/russh.sha256")" ] ||
    die "session/vendor/russh holds a change that session/vendor/russh.patch does not: write it anew (session/vendor/README.md)"
