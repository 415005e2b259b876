#!/usr/bin/env bash
# Everything that reads the source and judges it. It changes nothing in the checkout and names every failed part.
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo" || exit 1

scripts/setup.sh check || exit 1
say "build output: $CARGO_TARGET_DIR"

failed=()
part() {
    local name=$1 began=$SECONDS
    shift
    say "== $name"
    if "$@"; then say "   ok, $((SECONDS - began)) s"; else failed+=("$name"); fi
}

part "house rules can fail" python3 scripts/house.py --self-test
part "house rules (house.toml)" python3 scripts/house.py
part "vendored libraries and their patches" scripts/vendored.sh
part "shell scripts" shellcheck -x scripts/*.sh packaging/*.sh packaging/deb/*.p* .ci/run
part "format" "$cargo" fmt --all --check
part "licences, bans and sources (deny.toml)" "$tools/cargo-deny" --locked check --hide-inclusion-graph bans licenses sources
part "web pages: types and lints" scripts/ui.sh check
part "lints" "$cargo" clippy --locked --quiet --workspace --all-targets -- -D warnings

if [ ${#failed[@]} -gt 0 ]; then
    printf 'check failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
say "check: all good"
