"""The site of the bug report, tested on servers that hold what its developer and other people have put there."""

from collections.abc import Iterator

import pytest

from tests.samples.outcomes import FEW_RUNS, RUNS, Outcomes, Run, asking, measured
from tests.support.selection import of_length
from tests.support.servers import Memcached

YESTERDAY = '"Yesterday\'s class"'

# What the developer's memcached makes of each test with a runner that doesn't isolate.
POLLUTED = {
    "ClassDataTests.test_page_shows_a_class_that_was_added": f"'Karate' != {YESTERDAY}",
    "ClassDataTests.test_teachers_page_shows_a_class_that_was_added": f"'Karate' != {YESTERDAY}",
    "ClubPageTests.test_page_of_a_club_without_classes_is_empty": f"'' != {YESTERDAY}",
    "ClubPageTests.test_page_shows_the_classes_of_a_club": f"'Judo, Yoga' != {YESTERDAY}",
    "ClubPageTests.test_second_look_asks_the_database_for_the_club_only": f"'Judo' != {YESTERDAY}",
    "CommittedTests.test_teachers_page_shows_the_classes": f"b'Fencing' != b{YESTERDAY}",
    "LiveTests.test_page_shows_the_classes_of_a_club": f"b'Archery' != b{YESTERDAY}",
    "OtherPageTests.test_count_page_counts_the_classes": "b'0' != b'1'",
    "OtherPageTests.test_news_show_the_newest_class": f"'Boxing' != {YESTERDAY}",
    "OtherPageTests.test_sidebar_shows_the_club": "'Club 7' != 'Yesterday&#x27;s class'",
    "OtherPageTests.test_visits_are_counted_from_one": "['1 of 1', '2 of 2'] != ['1 of 2', '2 of 3']",
}
CHOSEN = RUNS if of_length(0, soak=1) else FEW_RUNS
# Those that isolate themselves, and the one that clears everybody's cache.
OTHERS = 3
TESTS = len(POLLUTED) + OTHERS


@pytest.fixture(scope="module")
def found(_unmeasured_processes: None) -> Iterator[Outcomes]:
    """Make the runs once."""
    with measured(CHOSEN) as outcomes:
        yield outcomes


@pytest.mark.parametrize("run", [run for run in CHOSEN if run.isolates], ids=", ".join)
def test_suite_passes_with_isolation(run: Run, found: Outcomes) -> None:
    """Every test passes: in every runner, on every server, in every mode, in every order, and again."""
    outcome = found.outcomes[run]

    assert (TESTS, {}) == (outcome.passed, outcome.failed), outcome.output


@pytest.mark.parametrize("run", [run for run in CHOSEN if not run.isolates and run.server != "locmem"], ids=", ".join)
def test_suite_fails_without_isolation_for_what_was_cached_before(run: Run, found: Outcomes) -> None:
    """Each test that isolates nothing fails for the value that the developer's clicks have cached."""
    outcome = found.outcomes[run]

    assert POLLUTED == {
        test: reason.removeprefix("AssertionError: ").removeprefix("Lists differ: ")
        for test, reason in outcome.failed.items()
    }, outcome.output
    assert OTHERS == outcome.passed


def test_suite_fails_without_isolation_for_what_other_tests_have_cached(found: Outcomes) -> None:
    """An empty cache at the beginning is not enough: in the memory of the process tests meet each other's values."""
    outcome = found.outcomes[Run("Django", "locmem")]

    assert "AssertionError: 'Judo, Yoga' != ''" in outcome.output
    assert (8, 6) == (outcome.passed, len(outcome.failed)), outcome.output


@pytest.mark.parametrize("run", [run for run in CHOSEN if "--parallel" in run.runner], ids=", ".join)
def test_parallel_runs_have_two_workers(run: Run, found: Outcomes) -> None:
    """A parallel run is one: each of two workers has a database of its own."""
    assert 2 == found.outcomes[run].output.count("Cloning test database"), found.outcomes[run].output


@pytest.mark.parametrize("server", ["memcached", "redis"])
def test_what_other_people_had_is_still_there(server: str, found: Outcomes) -> None:
    """After all these runs, each value of others on the server is there, unchanged."""
    assert len(found.before[server]) > len(POLLUTED) - 1
    assert found.before[server] == found.after[server]


def test_memcached_was_neither_flushed_nor_deleted_from(found: Outcomes) -> None:
    """Memcached itself says so, though the suite calls clear() in each run."""
    memcached = found.servers["memcached"]
    assert isinstance(memcached, Memcached)

    stats = memcached.stats()

    assert ["0", "0", "0"] == [stats[name] for name in ("cmd_flush", "delete_hits", "delete_misses")]


def test_redis_was_neither_flushed_nor_deleted_from(found: Outcomes) -> None:
    """Redis itself says so: of all commands it has seen none that removes."""
    with asking(found.servers["redis"]) as client:
        commands = client.info("commandstats")

    assert "cmdstat_set" in commands
    assert commands.keys().isdisjoint(f"cmdstat_{name}" for name in ("flushdb", "flushall", "del", "unlink"))
