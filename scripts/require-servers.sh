#!/bin/sh
# See to it that the servers that the tests start are installed.
# usage: scripts/require-servers.sh
set -eu

missing() {
    # Each program is in the Debian package of its own name.
    for program in memcached redis-server; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
    # Debian keeps this one's programs in a directory for each version, off PATH.
    command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || printf 'postgresql '
}

packages=$(missing)
[ -n "$packages" ] || exit 0
# Unquoted: a package each.
"$(dirname "$0")/install-packages.sh" $packages
still=$(missing)
if [ -n "$still" ]; then
    echo "Installed, and still not found: $still" >&2
    exit 1
fi
