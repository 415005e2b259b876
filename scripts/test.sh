#!/usr/bin/env bash
# Runs every test there is, prints failures once more at the end, and ends with one line: "N passed, N failed".
# Extra arguments go to cargo test: scripts/test.sh -p palisade-core
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo" || exit 1

scripts/setup.sh test || exit 1
# The OpenSSH and Ansible tests find these here.
export PALISADE_TEST_VENV=$venv

mkdir -p "$CARGO_TARGET_DIR"
log=$CARGO_TARGET_DIR/test-output.txt
say "build output: $CARGO_TARGET_DIR"
say "test output:  $log"

scripts/ui.sh || die "the web pages do not build"

began=$SECONDS
# The whole-cluster tests start pal and palctl as well, so all programs are built first.
"$cargo" build --locked --workspace --bins || die "the programs do not build"
say "built in $((SECONDS - began)) s"

began=$SECONDS
"$cargo" test --locked --no-fail-fast "${@:---workspace}" 2>&1 | tee "$log"
code=${PIPESTATUS[0]}
# Not when only some tests were asked for.
if [ $# -eq 0 ]; then
    scripts/ui.sh test 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || code=1
    # What the rooms' hot operations cost, in instructions of an optimised build.
    say "counting instructions"
    "$cargo" build --locked --profile fast -p palisade-bench-rooms &&
        { "$CARGO_TARGET_DIR/fast/palisade-count" check 2>&1 | tee -a "$log"; [ "${PIPESTATUS[0]}" -eq 0 ]; } || code=1
    # Packages on whole machines, in their short form.
    packaging/acceptance.sh --short 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" -eq 0 ] || code=1
fi
say "tested in $((SECONDS - began)) s"
python3 scripts/summary.py "$code" "$log"
