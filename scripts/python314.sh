#!/bin/sh
# Run the tests of keys and decorators on Python 3.14, in Pyodide: CPython in WebAssembly, from npm. Warnings are errors.
# usage: scripts/python314.sh PYTHON [arguments of pytest]
# It has neither threads nor processes nor servers: tests that need these are left out. PYTHON only installs packages.
set -eu
python=$1
shift
here=$(dirname "$0")
home=.venv-314

if ! command -v npm >/dev/null; then
    echo "== no pytest on Python 3.14: it needs node and npm"
    exit 1
fi
wanted=$(cksum <pyproject.toml)
if [ "$wanted" != "$(cat "$home/.installed" 2>/dev/null || true)" ]; then
    echo "== installing Pyodide with Python 3.14 into $home"
    npm install --silent --no-save --prefix "$home" 'pyodide@>=314 <315'
    # Packages of Python alone: of Hypothesis that is an older release.
    "$python" -m pip --disable-pip-version-check --no-input install -qq --no-compile --upgrade --target "$home/packages" \
        --only-binary=:all: --platform any --implementation py --abi none --python-version 3.14 \
        Django djangorestframework hypothesis pymemcache pytest pytest-django redis tzdata
    echo "$wanted" >"$home/.installed"
fi
if [ $# -eq 0 ]; then
    for name in decorators method_binding methods naming options other_decorators redecoration unusual_classes; do
        set -- "$@" "tests/functions/test_$name.py"
    done
    needing="async or twin or awaited or akey or apeek or arefresh or ainvalidate or asgiref or memcached or driver or hash_seed"
    set -- -q tests/keys "$@" -k "not ($needing)"
fi
# Values that are nested as deeply as Python allows need more than the stack that a thread of node has.
ulimit -s unlimited 2>/dev/null || ulimit -s "$(ulimit -H -s)"
exec node --stack-size=30000 "$here/python314.mjs" "$home/node_modules/pyodide" "$home/packages" "$@"
