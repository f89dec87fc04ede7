"""The storm of tenants, in small: threads, tasks, bulk calls and cancellations of three tenants on one cache."""

from dataclasses import replace
from math import inf
from pathlib import Path
from signal import SIGKILL

import pytest

from benchmarks.storm_of_tenants import SHORT, Weather, faults_of, outcome_of, started, storm
from benchmarks.storming.tenants import BACKENDS, EMPTY_AT_REST, Backend, Board, Course
from tests.house.state import STATE

CALM = replace(SHORT, signals=0)

# The others with make soak.
OFTEN = ("ours", "redis")
READERS = [*OFTEN, *(pytest.param(each, marks=pytest.mark.soak) for each in BACKENDS if each not in OFTEN)]
# Of the interrupts each point is tried on every reader: see test_interrupts.py.
UNDER_SIGNALS = ["ours", *(pytest.param(each, marks=pytest.mark.soak) for each in BACKENDS if each != "ours")]


def test_what_is_left_behind_is_looked_for_where_it_is() -> None:
    """Each name is one of the list of state, which a test compares with the code."""
    assert {".".join(each) for each in EMPTY_AT_REST} <= set(STATE)


def test_process_that_is_killed_is_named_with_its_signal(tmp_path: Path) -> None:
    """The storm does not wait for the others, which wait for the one that was killed; they are ended."""
    board = str(tmp_path / "board")
    Board.create(board, processes=2)
    endless = {"contender": "cachedeco", "threads": 1, "tasks": 0, "reads": 10**9}
    course = Course(backend="locmem", location="", board=board, process=0, processes=2, **endless)

    with started(course) as running:
        running[1].popen.kill()
        tally = outcome_of(running, inf)

    assert f"{running[1].popen.pid}, ended by SIGKILL" in tally.left
    assert -SIGKILL == running[0].popen.returncode


@pytest.mark.parametrize("backend", READERS)
def test_no_value_is_old_or_another_tenants(backend: Backend) -> None:
    """Nothing old or foreign is served, nothing raised or left behind: single, nested and bulk calls, cancelled too."""
    tally = storm(backend, CALM)

    assert "" == faults_of(tally)
    assert tally.cancelled > 0


@pytest.mark.parametrize(
    ("backend", "weather"),
    [
        ("ours", "down"),
        ("redis", "full"),
        *(pytest.param(each, "down", marks=pytest.mark.soak) for each in ("memcached", "redis", "our-redis")),
    ],
)
def test_no_value_is_another_tenants_without_a_cache(backend: Backend, weather: Weather) -> None:
    """Callers of three tenants share no computation where no server answers, or takes no more memory."""
    assert "" == faults_of(storm(backend, CALM, weather=weather))


@pytest.mark.parametrize("backend", UNDER_SIGNALS)
def test_exception_of_a_signal_leaves_nothing_behind(backend: Backend) -> None:
    """Each reaches its caller and no other one; no flight, lease, breaker or half-read connection stays."""
    tally = storm(backend, SHORT)

    assert "" == faults_of(tally)
    assert tally.signals > 0
