#!/bin/sh
# Run the tests of what the version of Python or of Django can change.
# usage: scripts/versions-suite.sh PYTHON PROCESSES
set -eu
cd "$(dirname "$0")/.."
python=$1
workers=$2

# Compiled signatures, coroutines and contexts, models, transactions, settings, checks, test runners. Servers, wires,
# leases, schedules, histories, texts of SQL, documents, and what one kind of database does are the same
# everywhere; two releases side by side are in the first run.
exec "$python" -m pytest -p no:cacheprovider -n "$workers" \
    tests/backends/test_contract.py tests/checks tests/functions tests/invalidation tests/keys tests/loading \
    tests/management tests/outbox tests/runtime tests/testing tests/tracking \
    --ignore-glob='*/testing/test_check_*' --ignore=tests/loading/leases --ignore=tests/loading/refreshing \
    --ignore=tests/invalidation/retry_queue --ignore=tests/invalidation/test_namespaces.py \
    --ignore=tests/invalidation/test_statements.py --ignore=tests/invalidation/test_row_statements.py \
    --ignore=tests/invalidation/dependencies/test_rows_histories.py \
    --ignore=tests/invalidation/dependencies/test_rows_postgresql.py \
    --ignore=tests/invalidation/transactions/test_postgresql.py --ignore=tests/invalidation/transactions/test_scale.py \
    --ignore=tests/invalidation/writes/test_histories.py \
    --ignore=tests/keys/test_limits.py --ignore=tests/keys/test_processes.py --ignore=tests/keys/test_properties.py \
    --ignore=tests/loading/bulk/test_calls.py --ignore=tests/loading/bulk/test_histories.py \
    --ignore=tests/loading/bulk/test_races.py --ignore=tests/management/test_deliver.py \
    --ignore=tests/outbox/test_processes.py --ignore=tests/runtime/test_log.py --ignore=tests/runtime/test_reprs.py \
    --ignore=tests/tracking/test_limits_of_tracking.py --ignore=tests/tracking/test_snapshots_on_engines.py
