#!/usr/bin/env bash
# Builds with optimisation and measures, beside etcd and OpenSSH in the same run. Arguments go to the bench:
#   make bench                                 all
#   make bench BENCH='writes --clients 64'     one; palisade-bench --help lists them
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo"

scripts/setup.sh bench
# The pages are embedded, and measured.
scripts/ui.sh
say "build output: $CARGO_TARGET_DIR (profile fast; the first build takes a while)"
# Without the simulation, for which tokio gets a clock that can be stopped.
"$cargo" build --locked --profile fast --workspace --exclude palisade-chaos --bins
say "commit: $(git rev-parse --short HEAD 2>/dev/null || echo none), $(uname -r)"
exec "$CARGO_TARGET_DIR/fast/palisade-bench" "$@"
