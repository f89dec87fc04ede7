"""Processes share their counts by slots in a cache, and a cache that fails costs nothing else."""

import json
from collections.abc import Callable, Generator
from typing import Any

import pytest
from django.test import override_settings

from cachedeco import Event, Statistics, Stats, cached_query, listening, mode, statistics
from cachedeco.runtime import conf, state
from cachedeco.runtime.statistics import count
from cachedeco.storage import shared_statistics
from tests.support.faults import faulty
from tests.support.threads import PATIENCE_SECONDS, in_thread

SHARED = {"SHARED_STATISTICS": 3600}
OTHER = Stats(hits=3, misses=1, unstored=1, reasons={"absent": 1}, unstored_reasons={"too large": 1})
COUNTS = Statistics({"sharing.other": OTHER}, {"table clubs_club": 2}, ("web:1",))

pytestmark = pytest.mark.usefixtures("faulty_backend")


@cached_query(60, name="sharing.page")
def page(number: int) -> int:
    """Return what is counted."""
    return number


@pytest.fixture
def slots() -> Generator[shared_statistics._Slots]:
    """Give the slots of an hour's interval, so that no thread writes meanwhile."""
    with override_settings(CACHEDECO=SHARED):
        yield shared_statistics._Slots(conf.settings())
        shared_statistics.end()


def test_processes_are_added_up(slots: shared_statistics._Slots) -> None:
    """Each takes a slot of its own, and writes to it again."""
    own = statistics()
    first = slots.write("a", COUNTS, None)
    second = slots.write("b", COUNTS, None)

    again = slots.write("a", COUNTS, first)

    total = statistics(shared=True)
    assert (0, 1, 0) == (first, second, again)
    assert (True, "") == (total.is_shared, total.problem)
    assert OTHER + OTHER == total.functions["sharing.other"]
    assert {"too large": 2} == total.functions["sharing.other"].unstored_reasons
    assert own.invalidations.get("table clubs_club", 0) + 4 == total.invalidations["table clubs_club"]
    assert "web:1" in total.processes
    assert str(total).startswith("Statistics of 2 processes.")


def test_process_writes_what_it_has_counted(slots: shared_statistics._Slots) -> None:
    """Its thread begins when a function is first called, and its own older counts are not added to those of now."""
    page(1)
    sharer: Any = shared_statistics._sharing

    sharer._write()
    with mode("off"):
        sharer._write()

    assert [sharer.name] == list(slots.read() or ())
    assert statistics().functions["sharing.page"] == statistics(shared=True).functions["sharing.page"]


def has_ended(sharer: Any) -> bool:
    """Wait for the end of a thread that writes counts; tell whether it has ended."""
    sharer._thread.join(PATIENCE_SECONDS)
    return not sharer._thread.is_alive()


def test_thread_writes_until_the_settings_change() -> None:
    """By its interval, and ends with them."""
    with override_settings(CACHEDECO={"SHARED_STATISTICS": 0.001}):
        page(2)
        sharer: Any = shared_statistics._sharing
        while not sharer._slots.read():
            pass
        shared_statistics.begin(sharer.settings)
        assert shared_statistics._sharing is sharer
        with override_settings(CACHEDECO={"SHARED_STATISTICS": 0.002}):
            shared_statistics.begin(conf.settings())
            assert has_ended(sharer)
    shared_statistics.end()
    assert shared_statistics._sharing is None


def test_finalizer_that_runs_while_the_thread_is_started_begins_nothing_twice(
    slots: shared_statistics._Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector may run it in the thread that does the start, and no lock is held meanwhile."""
    assert slots.read() == {}
    settings = conf.settings()
    begun: list[object] = []

    def start_and_collect(start: Callable[[], object]) -> None:
        monkeypatch.setattr(shared_statistics, "uninterrupted", lambda start: start())
        in_thread(lambda: shared_statistics.begin(settings))
        begun.append(shared_statistics._sharing)
        start()

    monkeypatch.setattr(shared_statistics, "uninterrupted", start_and_collect)
    shared_statistics.end()
    shared_statistics.begin(settings)

    assert [shared_statistics._sharing] == begun


def test_settings_that_share_nothing_end_the_thread(slots: shared_statistics._Slots) -> None:
    """It is not replaced."""
    page(4)
    before: Any = shared_statistics._sharing

    shared_statistics.begin(conf.Settings())

    assert has_ended(before)
    assert shared_statistics._sharing is None
    assert slots.read() == {}


def test_other_settings_replace_the_thread(slots: shared_statistics._Slots) -> None:
    """It is ended where it was not before."""
    page(1)
    before: Any = shared_statistics._sharing

    shared_statistics.begin(conf.Settings(SHARED_STATISTICS=7200.0))

    assert has_ended(before)
    assert shared_statistics._sharing is not before
    assert slots.read() == {}


def test_forked_child_shares_counts_of_its_own(slots: shared_statistics._Slots) -> None:
    """From 0, under another name."""
    page(1)
    parent: Any = shared_statistics._sharing

    state.reset_in_child()

    child: Any = shared_statistics._sharing
    assert parent.name != child.name
    assert {} == statistics().functions
    assert slots.read() == {}


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "-1", f"1{400 * '0'}", '"7"', "null", "[]", "1e999"]
)
@pytest.mark.parametrize(
    "text",
    [
        '{"f": {"hits": %}}, {}',
        '{"f": {"seconds_saved": %}}, {}',
        '{"f": {"reasons": {"absent": %}}}, {}',
        "{}, {'t': %}",
    ],
)
def test_numbers_that_no_process_counts_are_left_out(slots: shared_statistics._Slots, text: str, number: str) -> None:
    """An attacker who writes to the cache changes no sum to what JSON or a ratio can't be."""
    slots.write("a", COUNTS, None)
    written = f'["b", ["db:1"], {text}]'.replace("'", '"').replace("%", number).encode()
    slots._store.write_unguarded([(slots._keys()[1], written, None)])

    found = statistics(shared=True)

    assert (True, False) == ("web:1" in found.processes, "db:1" in found.processes)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == found.as_dict()


@pytest.mark.parametrize(
    "lose",
    [
        lambda slots: slots._store.delete(slots._keys()[0]),
        lambda slots: slots._store.write_unguarded([(slots._keys()[0], b"[nonsense", None)]),
        lambda slots: slots._store.write_unguarded([(slots._keys()[0], b'["b", [], [], []]', None)]),
    ],
)
def test_lost_slot_is_replaced(
    slots: shared_statistics._Slots, lose: Callable[[shared_statistics._Slots], object]
) -> None:
    """A process that was stopped for long finds it gone, or taken by what is nothing of ours."""
    slots.write("a", COUNTS, None)
    lose(slots)

    slot = slots.write("a", COUNTS, 0)

    assert slot is not None
    assert ["a"] == list(slots.read() or ())


def test_full_slots_leave_a_process_alone(monkeypatch: pytest.MonkeyPatch, slots: shared_statistics._Slots) -> None:
    """It tries again at the next interval."""
    monkeypatch.setattr(shared_statistics, "SLOTS", 1)

    assert [0, None] == [slots.write(name, COUNTS, None) for name in "ab"]


def test_cache_that_fails_costs_counts_alone(slots: shared_statistics._Slots) -> None:
    """No event, and what is shown is said to be of this process."""
    events: list[Event] = []
    with listening(events.append):
        with faulty(raises=OSError()):
            written = [slots.write("a", COUNTS, None), slots.write("a", COUNTS, 0)]
            alone = statistics(shared=True)
        with faulty("add", "set_many", raises=OSError()):
            written.append(slots.write("a", COUNTS, None))
        slots.write("a", COUNTS, None)
        with faulty("set", "set_many", raises=OSError()):
            written.append(slots.write("a", COUNTS, 0))
        with mode("off"):
            off = statistics(shared=True)

    assert ([None, 0, None, 0], []) == (written, events)
    assert {(False, shared_statistics.NOT_READ)} == {(each.is_shared, each.problem) for each in (alone, off)}


def test_busiest_functions_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are one, so that what is written is small."""
    monkeypatch.setattr(shared_statistics, "MOST_FUNCTIONS", 1)
    several = Statistics({"a": Stats(hits=1), "b": Stats(hits=5), "c": Stats(hits=2)})

    _, counts = shared_statistics._parse(shared_statistics._text_of("web", several)) or ("", Statistics())

    assert {"b": Stats(hits=5), "(others)": Stats(hits=3)} == counts.functions


def test_what_is_written_fits_into_memcached() -> None:
    """A megabyte, also where no value of any function is stored, each for many reasons that are sentences."""
    reasons = {f"{n} {'x' * 1000}": n for n in range(1, 11)}
    each = Stats(misses=1, unstored=55, unstored_reasons=reasons)
    counts = Statistics({f"shop.queries.function{n}": each for n in range(shared_statistics.MOST_FUNCTIONS)})

    text = shared_statistics._text_of("web", counts)

    _, read = shared_statistics._parse(text) or ("", Statistics())
    assert 2**20 / 2 > len(text)
    assert [10, 9] == [*read.functions["shop.queries.function1"].unstored_reasons.values()]


def test_subjects_of_invalidations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first parts of namespaces may contain ids."""
    monkeypatch.setattr("cachedeco.runtime.statistics.MOST_SUBJECTS", 0)
    before = statistics()

    for n in range(3):
        count(Event("invalidated", key=f"cd:n:sharing{n}"))

    assert {"(others)": 3} == (statistics() - before).invalidations


def test_snapshots_of_other_things_are_refused() -> None:
    """Counts are added to counts."""
    for each in (Stats(), Statistics()):
        with pytest.raises(TypeError):
            each + 1  # type: ignore[operator]
    many = Statistics({f"f{n}": Stats() for n in range(30)})
    assert "and 10 more functions" in str(many)
    assert many.as_dict()["total"]["hit_ratio"] is None
