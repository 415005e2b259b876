#!/usr/bin/env bash
# Installs what building, testing and measuring need, and only what is missing. Running it again changes nothing.
#
#   scripts/setup.sh [build|check|demo|test|bench|packages]     (default: test)
#
# System packages come from apt. Where that is not possible (no root, no sudo, another distribution) it prints
# the packages that are missing and fails. Everything else goes into ~/.cache/palisade, never into the checkout.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

what=${1:-test}
rust_least=1.95
deny_version=0.20.2
sbom_version=0.10.0

# package: a program that it brings, or a file if the word begins with a slash
build=(build-essential:cc clang:clang mold:mold cmake:cmake pkg-config:pkg-config protobuf-compiler:protoc git:git python3:python3 nodejs:node npm:npm)
check=("${build[@]}" shellcheck:shellcheck)
demo=("${build[@]}" openssh-server:/usr/sbin/sshd openssh-client:ssh oathtool:oathtool jq:jq)
test=("${check[@]}" "${demo[@]}" rsync:rsync xauth:xauth expect:expect tmux:tmux curl:curl openssl:openssl faketime:faketime fiu-utils:fiu-run iproute2:ip iputils-ping:ping valgrind:valgrind prometheus:promtool python3-venv:/usr/share/doc/python3-venv chromium:chromium)
bench=("${demo[@]}" etcd-server:etcd chromium:chromium)
# Packages, and the machines on which they are tried.
packages=("${build[@]}" binutils:strip dpkg-dev:dpkg-architecture rpm:rpmbuild lintian:lintian rpmlint:rpmlint openssh-client:ssh-keygen debootstrap:debootstrap debian-archive-keyring:/usr/share/keyrings/debian-archive-keyring.gpg systemd-container:systemd-nspawn iproute2:ip nftables:nft jq:jq)
test=("${test[@]}" "${packages[@]}")
case $what in
    build) wanted=("${build[@]}") ;;
    check) wanted=("${check[@]}") ;;
    demo) wanted=("${demo[@]}") ;;
    test) wanted=("${test[@]}") ;;
    bench) wanted=("${bench[@]}") ;;
    packages) wanted=("${packages[@]}") ;;
    *) die "unknown set '$what': use build, check, demo, test, bench or packages" ;;
esac

present() {
    case $1 in
        /*) [ -e "$1" ] ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing=()
for entry in "${wanted[@]}"; do
    package=${entry%%:*}
    # A Python that was not installed by apt brings its own venv module.
    if [ "$package" = python3-venv ] && python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then continue; fi
    present "${entry#*:}" || case " ${missing[*]-} " in *" $package "*) ;; *) missing+=("$package") ;; esac
done

install_packages() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
            as_root=(sudo)
        else
            die "these packages are missing and only root may install them. Run as root:
    apt-get install --no-install-recommends $*"
        fi
    fi
    command -v apt-get >/dev/null 2>&1 ||
        die "these packages are missing, and there is no apt here. Install what your system calls: $*"
    say "installing: $*"
    # Servers are wanted as programs for tests, not as services of this machine: none is started or enabled.
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    local code=0
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" || code=$?
    [ -z "$ours" ] || "${as_root[@]}" rm -f "$policy"
    if [ -d /run/systemd/system ]; then
        for package in "$@"; do
            case $package in
                openssh-server) "${as_root[@]}" systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || true ;;
                prometheus) "${as_root[@]}" systemctl disable --quiet prometheus.service 2>/dev/null || true ;;
                etcd-server) "${as_root[@]}" systemctl disable --quiet etcd.service 2>/dev/null || true ;;
            esac
        done
    fi
    [ "$code" -eq 0 ] || die "apt-get failed; install these packages and run this again: $*"
}

[ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"

# An sshd that root starts insists on this folder; a package that never ran as a service does not make it.
if [ "$(id -u)" -eq 0 ] && [ -x /usr/sbin/sshd ]; then mkdir -p /run/sshd; fi

command -v "${cargo%% *}" >/dev/null 2>&1 ||
    die "there is no cargo. Install Rust $rust_least or newer (https://rustup.rs or your distribution), then run this again"
rust_here=$(rustc --version | sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/')
if [ "$(printf '%s\n%s\n' "$rust_least" "$rust_here" | sort -V | head -n 1)" != "$rust_least" ]; then
    die "rustc is $rust_here, and this needs $rust_least or newer: run 'rustup update stable'"
fi

# Builds a tool of cargo's registry, once, in the version given.
tool() {
    local name=$1 version=$2
    [ "$("$tools/$name" --version 2>/dev/null)" != "$name $version" ] || return 0
    say "building $name $version, once, into $cache/tools (some minutes)"
    # From a folder of its own: this checkout's linker settings are not meant for it.
    mkdir -p "$cache/tools"
    (cd "$cache/tools" && CARGO_TARGET_DIR="$cache/tools-target" \
        "$cargo" install "$name" --version "$version" --locked --quiet --root "$cache/tools")
    rm -rf "$cache/tools-target"
}

case $what in
    packages) tool cargo-sbom "$sbom_version" ;;
    check | test)
        for component in clippy fmt; do
            cargo "$component" --version >/dev/null 2>&1 ||
                die "cargo $component is missing: run 'rustup component add clippy rustfmt'"
        done
        tool cargo-deny "$deny_version"
        ;;
esac

if [ "$what" = test ]; then
    wants=$(sha256sum "$repo/scripts/requirements.txt" | cut -d' ' -f1)
    if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wants" ]; then
        say "installing ansible-core, schemathesis and ssh-audit into $venv"
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$repo/scripts/requirements.txt"
        printf '%s\n' "$wants" >"$venv/.installed"
    fi
fi
