"""The benchmarks run, in small: what they measure is no part of the tests."""

import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("_unmeasured_processes", "memcached_server", "redis_server")


def test_benchmark_of_hits_measures_each_mark() -> None:
    """Each mark has a line, with what is asked and what was measured; and so has each way to write."""
    command = [sys.executable, "benchmarks/bench_hit.py", "--rounds", "2", "--calls", "1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert ("", 0) == (done.stderr, done.returncode)
    marks = [line for line in done.stdout.splitlines() if " / " in line]
    assert 20 == len(marks)
    assert 5 == sum("miss" in line or "invalidate" in line for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        (["benchmarks/bench_watcher.py", "--rounds", "1", "--writes", "10"], 11),
        (["benchmarks/bench_dependencies.py", "--rounds", "1", "--reads", "20"], 11),
        (["benchmarks/bench_async.py", "--rounds", "2", "--hits", "100"], 16),
    ],
    ids=["watcher", "dependencies", "async"],
)
def test_benchmark_measures_each_kind(command: list[str], lines: int) -> None:
    """Each kind has a line, and the benchmark says nothing else: no value was stale."""
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert ("", 0) == (done.stderr, done.returncode)
    assert lines == len(done.stdout.splitlines())
