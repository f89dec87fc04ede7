"""The benchmarks run, in small: what they measure is no part of the tests."""

from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.programs import run

pytestmark = pytest.mark.usefixtures("_unmeasured_processes", "memcached_server", "redis_server")


def test_benchmark_of_hits_measures_each_mark() -> None:
    """Each mark has a line, with what is asked and what was measured; and so has each way to write."""
    done = run("benchmarks/bench_hit.py", "--rounds", "2", "--calls", "1")

    assert ("", 0) == (done.stderr, done.returncode)
    marks = [line for line in done.stdout.splitlines() if " / " in line]
    assert 21 == len(marks)
    assert 5 == sum("miss" in line or "invalidate" in line for line in done.stdout.splitlines())


@pytest.mark.soak
@pytest.mark.parametrize(
    ("command", "sign", "lines"),
    [
        (["benchmarks/bench_watcher.py", "--rounds", "1", "--writes", "10"], "", 11),
        (["benchmarks/bench_dependencies.py", "--rounds", "1", "--reads", "20"], "", 11),
        (["benchmarks/bench_async.py", "--rounds", "2", "--hits", "100"], " / ", 6),
        (["benchmarks/bench_growth.py", "--rounds", "2", "--hits", "1", "--most", "10"], "our Redis backend", 6),
        (["benchmarks/bench_stampede.py", "--only", "early", "--expiries", "20"], " ± ", 3),
    ],
    ids=["watcher", "dependencies", "async", "growth", "early"],
)
def test_benchmark_measures_each_kind(command: list[str], sign: str, lines: int) -> None:
    """Each kind has a line, and the benchmark says nothing else: no value was stale."""
    done = run(*command)

    assert ("", 0) == (done.stderr, done.returncode)
    assert lines == sum(sign in line for line in done.stdout.splitlines())


def test_plots_of_the_documentation_show_the_results(tmp_path: Path) -> None:
    """The plots are those that the committed results give."""
    done = run("benchmarks/plots.py", "--into", str(tmp_path))

    assert ("", 0) == (done.stderr, done.returncode)
    drawn = {plot.name: plot.read_text() for plot in tmp_path.iterdir()}
    assert drawn == {plot.name: plot.read_text() for plot in (ROOT / "docs/images").glob("*.svg")}
