#!/usr/bin/env bash
# Hundreds of faults in a row against a cluster of real processes, with optimisation: at most an hour. Needs root.
#
#   FAULTS=300 SEED=n       how many, and what the choices follow from
#   MUTANTS=1               instead: each deliberate fault of core/src/mutant.rs in a debug build, which must be caught
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo" || exit 1

scripts/setup.sh test || exit 1

if [ -n "${MUTANTS-}" ]; then
    "$cargo" build --locked --workspace --bins || die "the programs do not build"
    code=0
    # What a cluster of real processes can be seen to break. The simulation catches the others: see chaos/README.md.
    while IFS=: read -r mutant faults; do
        "$CARGO_TARGET_DIR/debug/palisade-chaos" --faults 20 --seed "${SEED:-3}" --mutant "$mutant" --only "$faults" || code=1
    done <<'MUTANTS'
drop-audit-event:kill one,one-way cut,kill all
forget-requests:kill one,one-way cut,kill all
reply-before-sync:power cut of all,power cut of one
MUTANTS
    exit "$code"
fi

"$cargo" build --locked --profile fast --workspace --bins || die "the programs do not build"
exec "$CARGO_TARGET_DIR/fast/palisade-chaos" --faults "${FAULTS:-300}" --long ${SEED:+--seed "$SEED"}
