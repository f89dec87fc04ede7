#!/bin/sh
# Run the tests at the other end of the supported range: on the newest Django where the first run was on 5.2, and on
# 5.2 where it was on a newer one.
# usage: scripts/second-suite.sh PYTHON-OF-THE-FIRST-RUN [PROCESSES]
# Without a number of processes it only installs what the tests need, which it can do beside the first installation.
set -eu
first=$1
workers=${2:-}
venv=.venv-second
mark=$venv/.installed
here=$(dirname "$0")

version_of() {
    "$1" -c 'import platform, django; print(f"Python {platform.python_version()}, Django {django.__version__}")'
}

# Print the first interpreter of these versions that runs: on PATH, where pyenv may have put a shim that does not, or
# among pyenv's own.
interpreter_of() {
    for version in "$@"; do
        for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if "$python" -c 'import ensurepip, sqlite3' >/dev/null 2>&1; then
                echo "$python"
                return
            fi
        done
    done
}

has_5_2() {
    "$1" -c '
import sys
try:
    from django import VERSION
except ImportError:  # not yet installed
    sys.exit(sys.version_info >= (3, 12))  # as newer releases of Django ask for
sys.exit(VERSION[:2] != (5, 2))'
}

if has_5_2 "$first"; then
    django='Django>5.2,!=5.2.*'
    python=$(interpreter_of 3.13 3.12)
else
    django='Django==5.2.*'
    python=$(interpreter_of 3.11 3.12 3.13)
fi
if [ -z "$python" ]; then
    [ -z "$workers" ] ||
        echo "== no second pytest: found no other Python that takes $django; tested on $(version_of "$first") only"
    exit 0
fi

wanted="$python $django $(cksum <pyproject.toml)"
if [ "$wanted" != "$(cat "$mark" 2>/dev/null || true)" ]; then
    echo "== installing cachedeco with $django into $venv"
    "$here/make-venv.sh" "$python" "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -qq --no-compile --editable '.[test]' "$django"
    echo "$wanted" >"$mark"
fi
[ -n "$workers" ] || exit 0
echo "== pytest, again: $(version_of "$venv/bin/python")"
exec "$here/versions-suite.sh" "$venv/bin/python" "$workers"
