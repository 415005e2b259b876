#!/usr/bin/env bash
# Whether the libraries that are kept here are their releases plus our patches, and nothing else: what is left when the
# patch is taken back must be the release, by its digest in the .sha256 file beside it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
for patch in "$repo"/*/vendor/*.patch; do
    kept=${patch%.patch}
    shown=${kept#"$repo"/}
    rm -rf "$base/kept" && cp -R "$kept" "$base/kept"
    patch --reverse --strip=1 --batch --silent --fuzz=0 --directory="$base/kept" <"$patch" ||
        die "$shown.patch is not what was done to $shown: write it anew (README.md beside it)"
    digest=$(cd "$base/kept" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
    [ "$digest" = "$(cat "$kept.sha256")" ] ||
        die "$shown holds a change that $shown.patch does not: write it anew (README.md beside it)"
done
