#!/bin/sh
# See to it that the servers that the tests start are on PATH.
# usage: scripts/require-servers.sh
set -eu

missing() {
    # Each program is in the Debian package of its own name.
    for program in memcached redis-server; do
        command -v "$program" >/dev/null || printf '%s ' "$program"
    done
}

packages=$(missing)
[ -n "$packages" ] || exit 0
# Unquoted: a package each.
"$(dirname "$0")/install-packages.sh" $packages
still=$(missing)
if [ -n "$still" ]; then
    echo "Installed, and still not on PATH: $still" >&2
    exit 1
fi
