#!/usr/bin/env bash
# Measurements beside the best, each pair in one run on this machine: committed writes beside a three-node etcd, and
# SSH through a node beside a direct sshd and `ssh -J` over a stock sshd. Read the ratios: absolute figures are this
# machine's, this minute's.
#
#   make bench                 both, a few minutes
#   make bench BENCH=writes    BENCH=ssh
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repo" || exit 1

scripts/setup.sh bench || exit 1
which=${1:-all}
"$cargo" build --locked --release -p palisade-raft -p palisade-proxy --examples || die "the benches do not build"
built=$CARGO_TARGET_DIR/release/examples

say "machine: $(nproc) processors, $(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo), kernel $(uname -r)"
say "commit:  $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
say "load:    $(cut -d ' ' -f 1-3 /proc/loadavg)"

work=$(mktemp -d)
pids=()
cleanup() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap cleanup EXIT

writes() {
    local i ports peers='' leader=
    read -ra ports <<<"$(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(6)]
print(*[s.getsockname()[1] for s in held])')"
    for i in 0 1 2; do peers+="${peers:+,}e$i=http://127.0.0.1:${ports[i]}"; done
    for i in 0 1 2; do
        etcd --name "e$i" --data-dir "$work/e$i" --initial-cluster "$peers" --initial-cluster-state new \
            --listen-peer-urls "http://127.0.0.1:${ports[i]}" --initial-advertise-peer-urls "http://127.0.0.1:${ports[i]}" \
            --listen-client-urls "http://127.0.0.1:${ports[i + 3]}" --advertise-client-urls "http://127.0.0.1:${ports[i + 3]}" \
            >"$work/e$i.log" 2>&1 &
        pids+=($!)
    done
    local all=()
    for i in 3 4 5; do all+=("http://127.0.0.1:${ports[i]}"); done
    for i in $(seq 100); do
        leader=$(ETCDCTL_API=3 etcdctl --endpoints "$(IFS=,; echo "${all[*]}")" endpoint status -w json 2>/dev/null |
            jq -r '.[] | select(.Status.leader == .Status.header.member_id) | .Endpoint' 2>/dev/null)
        [ -n "$leader" ] && break
        sleep 0.1
    done
    [ -n "$leader" ] || die "etcd has no leader: $(tail -n 3 "$work/e0.log")"
    say "== committed writes of 256 bytes, three nodes on one disk, beside etcd $(etcd --version | head -n 1)"
    (cd "$work" && TMPDIR=$work ETCD=$leader "$built/propose_bench" "${SECONDS_EACH:-5}" 1 16 64 256) || die "propose_bench failed"
}

ssh_bench() {
    say "== ssh through a node, beside a direct sshd and ssh -J over a stock sshd"
    "$built/ssh_bench" "${MIB:-1024}" || die "ssh_bench failed"
}

case $which in
    writes) writes ;;
    ssh) ssh_bench ;;
    all) writes && ssh_bench ;;
    *) die "there is no bench $which: writes, ssh, all" ;;
esac
