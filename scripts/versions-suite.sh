#!/bin/sh
# Run the tests of what the version of Python or of Django can change.
# usage: scripts/versions-suite.sh PYTHON PROCESSES
set -eu
cd "$(dirname "$0")/.."
python=$1
workers=$2

# Compiled signatures, coroutines and contexts, models, transactions, settings, checks, test runners; and two releases
# side by side. Servers, wires, leases, the outbox, schedules, histories and documents are the same everywhere.
exec "$python" -m pytest -p no:cacheprovider -n "$workers" \
    tests/backends/test_contract.py tests/checks tests/functions tests/invalidation tests/keys tests/loading \
    tests/management tests/runtime tests/scenarios/test_fleets.py tests/testing tests/tracking \
    --ignore-glob='*/testing/test_check_*' --ignore=tests/loading/leases --ignore=tests/loading/refreshing \
    --ignore=tests/invalidation/writes/test_histories.py \
    --ignore=tests/invalidation/dependencies/test_rows_histories.py \
    --ignore=tests/keys/test_limits.py --ignore=tests/loading/bulk/test_histories.py \
    --ignore=tests/loading/bulk/test_races.py \
    --ignore=tests/invalidation/retry_queue
