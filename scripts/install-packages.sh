#!/bin/sh
# Installs with apt-get what is missing of the packages that the given lists name.
#
#   scripts/install-packages.sh [LIST…]      (scripts/packages.txt)
#
# Says nothing and needs no rights when all are there. Debian starts the services of packages it installs; the private
# ones that Dibs uses are separate, so here that is held back during the installation.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
[ $# -gt 0 ] || set -- "$here/packages.txt"

wanted=$(sed -e 's/#.*//' -e 's/^[[:space:]]*//' -e 's/[[:space:]].*//' -e '/^$/d' "$@")

if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian system, so install these yourself, under the names that your system has for them:" >&2
    # shellcheck disable=SC2086 # one word per package is meant
    echo "  " $wanted >&2
    # The build and the services tell what is really missing.
    exit 0
fi

missing=
for package in $wanted; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    # Without a terminal nobody can type a password: fail instead of hanging.
    if [ -t 0 ]; then as_root=sudo; else as_root='sudo -n'; fi
else
    echo "These Debian packages are missing, and installing them takes root's rights (no sudo here). As root, run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "Installing:$missing"
policy=/usr/sbin/policy-rc.d
ours=
unhold() {
    # shellcheck disable=SC2086 # empty or a command with its options
    [ -z "$ours" ] || $as_root rm -f "$policy"
}
trap unhold EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$policy" ]; then
    ours=yes
    # 101: the action is forbidden (Debian's policy-rc.d interface).
    # shellcheck disable=SC2086
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    # shellcheck disable=SC2086
    $as_root chmod 755 "$policy"
fi
# shellcheck disable=SC2086
$as_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null ||
    echo "apt-get update failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends $missing </dev/null
