#!/usr/bin/env bash
# Builds the packages: deb and rpm of `palisade` (node, agent, palctl) and of `palisade-client` (pal), their checksums and
# their bill of materials. The same commit gives the same bytes.
#
#   packaging/build.sh [--profile release|fast|debug] [--revision N] [--out DIR]
#
# `debug` packs what `make build` built, without checks of the source: for tests that would otherwise build twice.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../scripts/lib.sh"
cd "$repo"

glibc_most=2.34 # Debian 12, Ubuntu 22.04, RHEL 9
size_most=$((30 * 1024 * 1024))

# Who answers for the packages: whoever publishes them says so.
packager=${PALISADE_PACKAGER:-Palisade packagers <packages@palisade.invalid>}

profile=release revision=1 out='' sbom=yes
while [ $# -gt 0 ]; do
    case $1 in
        --profile) profile=$2 ;;
        --revision) revision=$2 ;;
        --out) out=$2 ;;
        *) die "unknown argument $1" ;;
    esac
    shift 2
done
[ "$(uname -m)" = x86_64 ] || die "packages are built on x86-64 only"
[ "$profile" != debug ] || sbom=no
out=${out:-$CARGO_TARGET_DIR/packages$([ "$profile" = release ] || echo "-$profile")}

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
umask 022

# ---- the programs --------------------------------------------------------------------------------------------

# Where the source lies on this machine is not in the programs.
if [ "$profile" != debug ]; then
    rust_home=$(rustc --print sysroot) cargo_home=${CARGO_HOME:-$HOME/.cargo}
    map=("$CARGO_TARGET_DIR=/target" "$repo=/palisade" "$cargo_home=/cargo" "$rust_home=/rust")
    flags=("-Clink-arg=-fuse-ld=mold" "-Clink-arg=-Wl,--build-id=none")
    c_flags=()
    for pair in "${map[@]}"; do
        flags+=("--remap-path-prefix=$pair")
        c_flags+=("-ffile-prefix-map=$pair")
    done
    export CFLAGS="${c_flags[*]}" CXXFLAGS="${c_flags[*]}" CARGO_INCREMENTAL=0
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
    export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
fi
# A debug build reads the pages from the checkout; what ships carries them.
[ "$profile" = debug ] || "$repo/scripts/ui.sh"
say "programs: profile $profile"
build=("$cargo" build --locked --workspace --bin palisade --bin palisade-spawn --bin palctl --bin pal)
# The simulation asks tokio for a clock that it can stop, and features of one program are those of all built with it.
[ "$profile" = debug ] || build+=(--profile "$profile" --exclude palisade-chaos)
"${build[@]}"
bin=$CARGO_TARGET_DIR/$profile

# The time of the commit, not of the build, is what a package carries. Not set any earlier: libraries in C would be built
# anew for it.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/bin"
rm -f "$out"/*.deb "$out"/*.rpm "$out"/SHA256SUMS "$out"/*.spdx.json

for program in palisade palctl pal palisade-spawn; do
    strip -o "$work/bin/$program" "$bin/$program"
    needs=$(objdump -T "$work/bin/$program" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    newest=$(printf 'GLIBC_%s\n%s\n' "$glibc_most" "$needs" | sort -V | tail -n 1)
    [ "$newest" = "GLIBC_$glibc_most" ] ||
        die "$program needs $needs: it would not run on systems with glibc $glibc_most. Build on an older distribution"
    if grep -qaF "$repo/" "$work/bin/$program" && [ "$profile" != debug ]; then
        die "$program contains the path of this checkout: two builds would differ"
    fi
    if [ "$program" = palisade ] && [ "$profile" != debug ] && ! grep -qaF assets/index- "$work/bin/$program"; then
        die "$program carries no web pages: scripts/ui.sh builds them"
    fi
    # The deliberate faults of core/src/mutant.rs are for tests: nothing that ships can be told to have one.
    if grep -qaF PALISADE_MUTANT "$work/bin/$program" && [ "$profile" != debug ]; then
        die "$program can be started with a deliberate fault: it was built with debug assertions"
    fi
done
say "programs: glibc $glibc_most is enough"

# ---- the trees -----------------------------------------------------------------------------------------------

put() { install -D -m "$1" "$2" "$3"; }
# What a program says of itself: man pages and completions.
spoken() {
    local program=$1 root=$2 name page
    mkdir -p "$work/man/$program"
    "$work/bin/$program" man --dir "$work/man/$program"
    for page in "$work/man/$program"/*.1; do
        name=$(basename "$page")
        gzip -9n "$page"
        put 644 "$page.gz" "$root/usr/share/man/man1/$name.gz"
    done
    "$work/bin/$program" completion bash >"$work/$program.bash"
    "$work/bin/$program" completion zsh >"$work/_$program"
    "$work/bin/$program" completion fish >"$work/$program.fish"
    put 644 "$work/$program.bash" "$root/usr/share/bash-completion/completions/$program"
    put 644 "$work/_$program" "$root/usr/share/zsh/site-functions/_$program"
    put 644 "$work/$program.fish" "$root/usr/share/fish/vendor_completions.d/$program.fish"
}

node=$work/stage/palisade client=$work/stage/palisade-client
put 755 "$work/bin/palisade" "$node/usr/bin/palisade"
put 755 "$work/bin/palctl" "$node/usr/bin/palctl"
put 755 "$work/bin/palisade-spawn" "$node/usr/libexec/palisade-spawn"
put 644 packaging/systemd/palisade.service "$node/usr/lib/systemd/system/palisade.service"
put 644 packaging/systemd/palisade-agent.service "$node/usr/lib/systemd/system/palisade-agent.service"
put 644 packaging/etc/sysusers.conf "$node/usr/lib/sysusers.d/palisade.conf"
put 644 packaging/etc/palisade.yaml "$node/etc/palisade/palisade.yaml"
put 644 packaging/etc/agent.yaml "$node/etc/palisade/agent.yaml"
for page in alerts.yaml grafana.json; do
    put 644 "packaging/monitoring/$page" "$node/usr/share/palisade/monitoring/$page"
done
for page in docs/*.md; do put 644 "$page" "$node/usr/share/doc/palisade/$(basename "$page")"; done
spoken palisade "$node"
spoken palctl "$node"
put 755 "$work/bin/pal" "$client/usr/bin/pal"
mkdir -p "$client/usr/share/doc/palisade-client"
spoken pal "$client"
{
    python3 packaging/licences.py palisade-node palisade-client
    # A debug build carries no pages.
    [ "$profile" = debug ] || cat web/ui/dist/licences.txt
} | gzip -9nc >"$work/node-licences.gz"
python3 packaging/licences.py palisade-client | gzip -9nc >"$work/client-licences.gz"
put 644 "$work/node-licences.gz" "$node/usr/share/doc/palisade/third-party.txt.gz"
put 644 "$work/client-licences.gz" "$client/usr/share/doc/palisade-client/third-party.txt.gz"
for package in palisade palisade-client; do
    put 644 packaging/copyright "$work/stage/$package/usr/share/doc/$package/copyright"
done
find "$work/stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# What rpm is to pack, before the deb's own files are added.
for package in palisade palisade-client; do
    {
        (cd "$work/stage/$package" && find . ! -type d -printf '/%P\n' | sort) |
            sed -E 's|^(/etc/palisade/.*)$|%config(noreplace) \1|; s|^(/usr/share/(doc\|man)/.*)$|%doc \1|'
        [ "$package" != palisade ] || echo '%dir /etc/palisade'
        echo "%dir /usr/share/doc/$package"
    } >"$work/stage/$package.files"
done

# ---- rpm -----------------------------------------------------------------------------------------------------

if command -v rpmbuild >/dev/null; then
    rpmbuild -bb --quiet --target x86_64-linux \
        --define "stage $work/stage" --define "package_version $version" --define "package_revision $revision" \
        --define "packager $packager" --define "package_date $(date -u -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" \
        --define "_topdir $work/rpm" --define "_rpmdir $out" --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
        --define "_buildhost palisade" --define "use_source_date_epoch_as_buildtime 1" \
        --define "clamp_mtime_to_source_date_epoch 1" \
        --define "_binary_payload $([ "$profile" = debug ] && echo w1 || echo w19).zstdio" \
        packaging/rpm/palisade.spec
else
    die "there is no rpmbuild: scripts/setup.sh packages installs it"
fi

# ---- deb -----------------------------------------------------------------------------------------------------

deb() {
    local package=$1 description=$2 control=$3 root=$work/stage/$1
    mkdir -p "$root/DEBIAN" "$root/usr/share/doc/$package"
    # In Debian completions for zsh live beside those of zsh itself.
    mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
    {
        printf '%s (%s-%s) unstable; urgency=medium\n\n  * Built from its source at this time. See operating.md.\n\n' \
            "$package" "$version" "$revision"
        printf ' -- %s  %s\n' "$packager" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n >"$root/usr/share/doc/$package/changelog.Debian.gz"
    if [ -e "packaging/deb/$package.overrides" ]; then
        put 644 "packaging/deb/$package.overrides" "$root/usr/share/lintian/overrides/$package"
    fi
    for script in postinst prerm postrm; do
        [ ! -e "packaging/deb/$package.$script" ] || put 755 "packaging/deb/$package.$script" "$root/DEBIAN/$script"
    done
    (cd "$root" && find etc -type f -printf '/%p\n' 2>/dev/null | sort) >"$work/conffiles" || true
    [ ! -s "$work/conffiles" ] || put 644 "$work/conffiles" "$root/DEBIAN/conffiles"
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    {
        printf 'Package: %s\nVersion: %s-%s\nArchitecture: amd64\n' "$package" "$version" "$revision"
        printf 'Maintainer: %s\nInstalled-Size: %s\n' "$packager" "$(du -sk --apparent-size "$root/usr" | cut -f1)"
        printf 'Section: admin\nPriority: optional\n%s\nDescription: %s\n' "$control" "$description"
    } >"$root/DEBIAN/control"
    find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    local how=(-Zxz -z6)
    [ "$profile" != debug ] || how=(-Zgzip -z1)
    dpkg-deb --root-owner-group "${how[@]}" --build "$root" "$out/${package}_$version-${revision}_amd64.deb" >/dev/null
}

deb palisade "access to machines by short-lived certificates - node and agent
 Palisade lets people reach machines without leaving keys on them. Three or
 five nodes form one cluster that checks logins, signs short-lived
 certificates, carries and records SSH sessions, and keeps an audit log.
 .
 This package has the node, the agent that serves a machine as a host, and
 palctl for operators." \
    "Depends: libc6 (>= $glibc_most), libgcc-s1, init-system-helpers (>= 1.54), passwd, systemd
Suggests: palisade-client"
deb palisade-client "access to machines by short-lived certificates - client
 pal logs in to a Palisade cluster and reaches its hosts: sessions, files,
 forwards, recordings." \
    "Depends: libc6 (>= $glibc_most), libgcc-s1, openssh-client"

# ---- what lies beside them -----------------------------------------------------------------------------------

if [ "$sbom" = yes ]; then
    [ -x "$tools/cargo-sbom" ] || die "cargo-sbom is missing: scripts/setup.sh packages builds it"
    # Its time and its name are those of the commit, not of this run.
    unset CARGO_ENCODED_RUSTFLAGS
    "$tools/cargo-sbom" --output-format spdx_json_2_3 |
        python3 packaging/sbom.py "$SOURCE_DATE_EPOCH" "$version" >"$out/palisade-$version.spdx.json"
fi
for package in "$out"/*.deb "$out"/*.rpm; do
    size=$(stat -c %s "$package")
    [ "$size" -le "$size_most" ] || [ "$profile" = debug ] ||
        die "$package has $size bytes, more than $size_most"
done
(cd "$out" && find . -maxdepth 1 -type f -printf '%P\n' | sort | xargs sha256sum) >"$work/SHA256SUMS"
put 644 "$work/SHA256SUMS" "$out/SHA256SUMS"
(cd "$out" && ls -l)
rustc --print target-libdir --target aarch64-unknown-linux-gnu 2>/dev/null | xargs -r test -d ||
    say "arm64: not built: this Rust toolchain has no standard library for aarch64-unknown-linux-gnu"
say "packages: $out"
