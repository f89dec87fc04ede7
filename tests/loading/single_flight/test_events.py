"""What is told of calls that share: the kinds of events, in order, and the counts."""

from contextlib import suppress

import pytest

from cachedeco import Namespace
from cachedeco.functions import single_serving
from cachedeco.loading import leases, serving, writing
from cachedeco.runtime.statistics import Stats
from tests.loading.single_flight.callers import Boarding, heard
from tests.support.sides import Side, both
from tests.support.threads import Gate, started

Told = list[tuple[str, str, str]]


def told_of(side: Side, boarding: Boarding, ends: str) -> tuple[Told, Told, Stats, list[str]]:
    """Return the events of a leader before and after a caller follows it, the counts, and the key of all events."""
    gate = Gate()
    gate.shut()

    @side.cached(ignore=("gate", "ends"), cache_if=lambda _: ends != "unstored", name=f"telling {ends} {side.is_async}")
    def value() -> object:
        gate.wait_to_pass()
        if ends == "error":
            raise ValueError
        return (lambda: None) if ends == "unpicklable" else "value"

    def call() -> None:
        with suppress(ValueError):
            side.call(value)

    with heard() as told, started(call):
        gate.wait_reached()
        with started(call):
            boarding.wait_for_followers(1)
            before = len(told)
            gate.open()
    events = [(event.kind, event.reason, type(event.error).__name__) for event in told]
    keys = sorted({event.key for event in told})
    assert [value.key_for()] == keys
    return events[:before], events[before:], value.stats(), keys


NONE = "", "NoneType"
ABSENT = "absent", "NoneType"


@both
def test_shared_value(side: Side, boarding: Boarding) -> None:
    """Both miss; one computes and stores, and then what the other gets is told as shared."""
    before, after, stats, _ = told_of(side, boarding, "value")

    assert [("miss", *ABSENT)] * 2 == before
    assert [("computed", *NONE), ("stored", *NONE), ("shared", *NONE)] == after
    assert (2, 1, 0) == (stats.misses, stats.computations, stats.errors)


@both
def test_value_that_is_not_stored(side: Side, boarding: Boarding) -> None:
    """Why it is not stored is told once, of the one who computed."""
    _, after, stats, _ = told_of(side, boarding, "unstored")

    assert [("computed", *NONE), ("unstored", "cache_if says no", "NoneType"), ("shared", *NONE)] == after
    assert (2, 1, 0) == (stats.misses, stats.computations, stats.errors)


@both
def test_value_that_cannot_be_pickled(side: Side, boarding: Boarding) -> None:
    """Each computes its own; why it is not stored is an error once, and told of each."""
    _, after, stats, _ = told_of(side, boarding, "unpicklable")

    assert ["computed", "error", "computed", "unstored"] == [kind for kind, _, _ in after]
    assert {writing.UNSERIALIZABLE} == {reason for kind, reason, _ in after if kind != "computed"}
    assert (2, 2, 1) == (stats.misses, stats.computations, stats.errors)


@both
def test_error_of_the_function(side: Side, boarding: Boarding) -> None:
    """What the user's function raises is the caller's matter: nothing is told but the misses."""
    before, after, stats, _ = told_of(side, boarding, "error")

    assert ([("miss", *ABSENT)] * 2, []) == (before, after)
    assert (2, 0, 0) == (stats.misses, stats.computations, stats.errors)


@both
def test_error_of_the_function_where_the_old_value_may_be_served(
    side: Side, boarding: Boarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leader and follower each get the old value, and each is told of, with the error."""
    now = 1000.0
    for module in (single_serving, serving, writing, leases):
        monkeypatch.setattr(module, "time", lambda: now)
    gate, outcomes = Gate(), ["old"]

    @side.cached(ignore=("gate", "outcomes"), timeout=10, jitter=0, stale_if_error=20)
    def value() -> str:
        gate.wait_to_pass()
        return outcomes.pop()

    side.call(value)
    now += 11
    gate.shut()
    with heard() as told, started(lambda: side.call(value)) as leader:
        gate.wait_reached()
        with started(lambda: side.call(value)) as follower:
            boarding.wait_for_followers(1)
            gate.open()

    assert ("old", "old") == (leader.result(), follower.result())
    assert ["error", "error", "miss", "miss", "stale", "stale"] == sorted(event.kind for event in told)
    assert [IndexError] * 2 == [type(event.error) for event in told if event.kind == "error"]


@both
@pytest.mark.parametrize("meanwhile", ["invalidated", "past its grace"])
def test_error_of_the_function_where_the_old_value_may_not_be_served(
    side: Side, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was invalidated while the computation ran, or is too old, is not served: the error is raised."""
    now = 1000.0
    for module in (single_serving, serving, writing, leases):
        monkeypatch.setattr(module, "time", lambda: now)
    outcomes = ["old"]

    @side.cached(ignore=("meanwhile", "outcomes"), timeout=10, jitter=0, stale_if_error=20, namespace="failing")
    def value() -> str:
        if not outcomes and meanwhile == "invalidated":
            Namespace("failing").invalidate()
        return outcomes.pop()

    side.call(value)
    now += 11 if meanwhile == "invalidated" else 31

    with pytest.raises(IndexError):
        side.call(value)
