#!/bin/sh
# Make a virtual environment anew.
# usage: scripts/make-venv.sh PYTHON DIRECTORY
set -eu
python=$1
directory=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is no Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
# Debian has the module in a package beside its python3.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    "$(dirname "$0")/install-packages.sh" "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
fi
"$python" -m venv --clear "$directory" || {
    # Half an environment would pass for a whole one.
    rm -rf "$directory"
    exit 1
}
