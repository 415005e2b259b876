#!/bin/sh
# Installs the agent on this host from a node of its cluster, and joins. `palctl bundle show` on the node prints the line:
#
#   sh install-agent.sh NODE:PORT SHA256 TOKEN
#
# What comes from the node is held against the SHA256 (of its SHA256SUMS) before it is used, and the token is shown to
# nobody before `palisade agent join` has checked the cluster by the pin in it.
set -eu

die() {
    echo "install-agent: $*" >&2
    exit 1
}
[ $# -eq 3 ] || die "give NODE:PORT SHA256 TOKEN, as palctl bundle show prints them"
node=$1 sums=$2 token=$3
[ "$(id -u)" -eq 0 ] || die "only root may install packages"
case $(uname -m) in
    x86_64) ;;
    *) die "there is no package for $(uname -m)" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() {
    if command -v curl >/dev/null; then
        curl -fsSk --noproxy '*' --max-time 600 -o "$work/$1" "https://$node/v1/bundle/$1"
    elif command -v wget >/dev/null; then
        wget -q --no-proxy --no-check-certificate -O "$work/$1" "https://$node/v1/bundle/$1"
    else
        die "there is neither curl nor wget"
    fi || die "$node did not give $1"
}
fetch SHA256SUMS
echo "$sums  $work/SHA256SUMS" | sha256sum -c --quiet - || die "SHA256SUMS is not the one that palctl bundle show named"
if command -v dpkg >/dev/null; then kind=_amd64.deb; elif command -v rpm >/dev/null; then kind=.x86_64.rpm; else
    die "there is neither dpkg nor rpm"
fi
package=$(sed -n "s/^[0-9a-f]*  \\(palisade[-_][0-9][^ ]*$kind\\)\$/\\1/p" "$work/SHA256SUMS")
[ -n "$package" ] || die "the bundle has no package for this system"
fetch "$package"
(cd "$work" && grep "  $package\$" SHA256SUMS | sha256sum -c --quiet -) || die "$package is not what SHA256SUMS says"

# A host is no node: none starts, and no port opens, before the agent has joined; afterwards the unit sees to it itself.
systemctl mask --quiet palisade.service
trap 'systemctl unmask --quiet palisade.service; rm -rf "$work"' EXIT
if [ "$kind" = .x86_64.rpm ]; then rpm -U --replacepkgs "$work/$package"; else dpkg -i "$work/$package"; fi
palisade agent join "$token" "$node"
systemctl enable --quiet --now palisade-agent.service
