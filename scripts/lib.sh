# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used by those who source it
# What the scripts share: where things are, and how they speak. Sourced, never run.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${PALISADE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/palisade}
# Build output stays outside the checkout, so that a fresh clone on the same machine builds warm.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
cargo=${CARGO:-cargo}
tools=$cache/tools/bin
venv=$cache/venv

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
