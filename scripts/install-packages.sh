#!/bin/sh
# Install Debian packages as root, or print the one command that does and fail.
# usage: scripts/install-packages.sh PACKAGE...
set -eu

if ! command -v apt-get >/dev/null; then
    echo "Missing: $*. Install them with this system's package manager." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Missing: $*. This installs them:" >&2
    echo "    sudo sh -c 'apt-get update && apt-get install --yes $*'" >&2
    exit 1
fi

echo "== installing $* with apt-get"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# An index that cannot be read may not matter: what counts is whether the packages come.
apt-get update >"$log" 2>&1 </dev/null || true
if ! apt-get install --yes --no-install-recommends \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "apt-get could not install: $*" >&2
    exit 1
fi
