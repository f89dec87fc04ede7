"""Broken schemes, and the library broken on purpose: the explorer must find the schedule that shows it."""

from collections.abc import Mapping

import pytest

from tests.schedules.acts import reads, writes
from tests.schedules.explorer import Scenario, explore, throw
from tests.schedules.naive import (
    Counter,
    DeleteAndAdd,
    DeleteAndSet,
    Gathered,
    SharedByKey,
    Stamped,
    StampedAfter,
    Timestamp,
)
from tests.schedules.weakened import WEAKENED, scenario

EVICTION = {"evict": 1}
# The scheme, what may happen, how many read, and the number of steps of the shortest schedule that breaks it.
BROKEN: dict[str, tuple[type[DeleteAndSet | Stamped], Mapping[str, int], int, int]] = {
    "delete and set": (DeleteAndSet, {}, 1, 5),
    "delete and add": (DeleteAndAdd, {}, 1, 5),
    "counter, evicted": (Counter, EVICTION, 1, 5),
    "timestamp, evicted": (Timestamp, EVICTION, 1, 5),
    "stamp after the computation": (StampedAfter, {}, 1, 7),
    "flights by key alone": (SharedByKey, {}, 2, 11),
}
SOUND: dict[str, tuple[type[Stamped], Mapping[str, int]]] = {
    "counter, never evicted": (Counter, {}),
    "timestamp, never evicted": (Timestamp, {}),
    "random stamp, evicted": (Stamped, EVICTION),
}


def scenario_of(
    scheme: type[DeleteAndSet | Stamped], budget: Mapping[str, int], readers: int, *, is_warm: bool
) -> Scenario:
    """Return the scenario of some readers and one writer."""
    cached = scheme()
    return Scenario(
        name=scheme.__name__,
        before=[cached] if is_warm else [],
        cast=dict.fromkeys("ABC"[:readers], reads(cached)) | {"W": writes("row", cached.invalidate)},
        looks=[reads(cached)],
        budget=budget,
    )


@pytest.mark.parametrize("name", BROKEN)
def test_broken_scheme_is_found_out(name: str) -> None:
    """For each scheme as it is usually written there is a schedule that breaks it, and the shortest one is found."""
    scheme, budget, readers, length = BROKEN[name]

    explored = explore(scenario_of(scheme, budget, readers, is_warm=bool(budget)))

    assert (length, True) == (explored.length, "was acknowledged before it began" in explored.violation)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_scheme_is_found_out_by_chance(name: str) -> None:
    """Random schedules find them too: a thousand that find nothing mean something."""
    scheme, budget, readers, _ = BROKEN[name]

    explored = throw(scenario_of(scheme, budget, readers, is_warm=bool(budget)), range(1000))

    assert explored.violation


@pytest.mark.parametrize("name", SOUND)
def test_scheme_that_is_sound_here_is_not_accused(name: str) -> None:
    """Where nothing is evicted, it may be a counter: the controls fail for what they lack, and for nothing else."""
    scheme, budget = SOUND[name]

    explored = explore(scenario_of(scheme, budget, 2, is_warm=True))

    assert "" == explored.violation


def gathered(*keys: str) -> Scenario:
    """Return the scenario of one who reads two values by these keys, and one who writes both."""
    scheme = Gathered(keys)
    return Scenario(name="gathered", before=[scheme.warm], cast={"A": scheme.read, "W": scheme.write}, looks=[])


def test_read_of_several_keys_is_no_snapshot() -> None:
    """Keys are read one by one: two values with their stamps, value by value, may have been valid at no moment."""
    explored = explore(gathered("first", "stamp of first", "second", "stamp of second"))

    assert "[0, 1] were valid at no moment" in explored.violation


@pytest.mark.parametrize("rows", [("first", "second"), ("second", "first")], ids=" ".join)
def test_all_values_before_all_stamps_were_valid_at_one_moment(rows: tuple[str, str]) -> None:
    """In the order of all entries, then all tokens, the same values were all valid between the two, in any order."""
    explored = explore(gathered(*rows, *(f"stamp of {row}" for row in rows)))

    assert "" == explored.violation


@pytest.mark.parametrize("name", WEAKENED)
def test_library_without_one_line_of_defence_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of defence is there for a schedule, and without it this schedule is found."""
    replacements, missed_in = WEAKENED[name]
    for target, replacement in replacements.items():
        monkeypatch.setattr(f"cachedeco.{target}", replacement)

    explored = explore(scenario(missed_in), is_one_enough=True)

    assert explored.violation
