"""What holds for each way to ask for a value: one call, many ids, gathered; sync, async; inside `remembered()`."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from django.db import connection, transaction

from cachedeco import Namespace, agather, bypass, cached_query, gather, mode, remembered
from cachedeco.loading import refreshing
from tests.support.clocks import Clock, clock  # noqa: F401 -- a fixture
from tests.support.clubs import Undone
from tests.support.events import heard
from tests.support.faults import faulty
from tests.support.sides import ASYNC, SYNC, Side

_serials = count()


class Rows:
    """What cached functions read: values by number, which of them were read, and what is raised instead."""

    def __init__(self) -> None:
        """Begin with one row, and one that is None."""
        self.values: dict[int, Any] = {1: ["old"], 2: None}
        self.read: list[int] = []
        self.error: Exception | None = None

    def of(self, number: int) -> Any:
        """Return a row."""
        self.read.append(number)
        if self.error is not None:
            raise self.error
        return self.values[number]


@dataclass(frozen=True)
class Way:
    """One way to ask for a row."""

    side: Side
    is_bulk: bool = False
    is_gathered: bool = False
    is_mixed: bool = False  #: a sync function in `agather()`
    is_remembered: bool = False

    def cached(self, rows: Rows, **options: Any) -> Any:
        """Return a cached function over the rows."""

        def row(number: int) -> Any:
            return rows.of(number)

        def many(numbers: list[int]) -> Any:
            return {number: rows.of(number) for number in numbers}

        options = {"name": f"ways{next(_serials)}", "ignore": ("rows",), **options}
        side = SYNC if self.is_mixed else self.side
        return side.many(over="numbers", **options)(many) if self.is_bulk else side.cached(**options)(row)

    def get(self, cached: Any, number: int) -> Any:
        """Ask for a row."""
        argument: Any = [number] if self.is_bulk else number
        if not self.is_gathered:
            found = self.side.call(cached, argument)
        else:
            all_of = agather if self.side.is_async else gather
            beside, found, again = self.side.call(all_of, _beside.call(1), cached.call(argument), _beside.call(2))
            assert (1, 2) == (beside, again)
        return found[number] if self.is_bulk else found

    def verb(self, cached: Any, name: str, number: int) -> Any:
        """Use a verb for a row."""
        return getattr(cached, name)([number] if self.is_bulk else number)


@cached_query(name="ways.beside", timeout=None)
def _beside(number: int) -> int:
    return number


WAYS = {
    f"{side} {kind}{gathered}": Way(ASYNC if side == "async" else SYNC, kind == "bulk", bool(gathered))
    for side in ("sync", "async")
    for kind in ("single", "bulk")
    for gathered in ("", " gathered")
} | {
    f"sync {kind} in agather": Way(ASYNC, kind == "bulk", is_gathered=True, is_mixed=True)
    for kind in ("single", "bulk")
}
WAYS |= {
    f"{name} remembered": replace(WAYS[name], is_remembered=True)
    for name in ("sync single", "sync bulk", "sync single gathered", "async bulk gathered")
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """Give each way; what is gathered beside is stored."""
    way: Way = request.param
    _beside(1), _beside(2)
    with remembered() if way.is_remembered else nullcontext():
        yield way


@pytest.fixture
def rows() -> Rows:
    """Give rows to read."""
    return Rows()


def test_value_is_computed_once_and_each_caller_has_a_copy(way: Way, rows: Rows) -> None:
    """A hit is what was stored, None too, and a caller who changes it changes nothing for others."""
    cached = way.cached(rows)

    first = way.get(cached, 1)
    first.append("mine")
    second = way.get(cached, 1)
    second.append("mine")

    assert ["old"] == way.get(cached, 1)
    assert [None, None] == [way.get(cached, 2), way.get(cached, 2)]
    assert [1, 2] == rows.read


@pytest.mark.parametrize("how", ["call", "all calls", "namespace"])
def test_invalidated_value_is_computed_anew(way: Way, rows: Rows, how: str) -> None:
    """Each way to invalidate ends the entry."""
    cached = way.cached(rows, namespace="ways")
    way.get(cached, 1)
    rows.values[1] = "new"

    if how == "call":
        way.verb(cached, "invalidate", 1)
    elif how == "all calls":
        cached.invalidate_all()
    else:
        Namespace("ways").invalidate()

    assert ("new", [1, 1]) == (way.get(cached, 1), rows.read)


def test_exception_is_raised_and_not_stored(way: Way, rows: Rows) -> None:
    """The function's exception reaches the caller; the next call computes."""
    cached = way.cached(rows)
    rows.error = ZeroDivisionError()

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            way.get(cached, 1)

    assert [1, 1] == rows.read


def test_exception_that_is_remembered_is_a_hit(way: Way, rows: Rows) -> None:
    """One of *cache_exceptions* is raised again without a computation, and counts as a hit."""
    cached = way.cached(rows, cache_exceptions={ZeroDivisionError: 60})
    rows.error = ZeroDivisionError("so")
    with pytest.raises(ZeroDivisionError):
        way.get(cached, 1)

    with heard("hit", "miss") as events, pytest.raises(ZeroDivisionError, match="so"):
        way.get(cached, 1)

    assert ["hit"] == [each.kind for each in events if each.function != "ways.beside"]
    assert [1] == rows.read


def test_events_name_function_key_and_cache(way: Way, rows: Rows) -> None:
    """A miss, a computation and a hit are events of the function, with the key of the entry."""
    cached = way.cached(rows)
    key = way.verb(cached, "keys_for" if way.is_bulk else "key_for", 1)
    key = key[1] if way.is_bulk else key

    with heard("hit", "miss", "computed", "stored") as events:
        way.get(cached, 1)
        way.get(cached, 1)

    told = [(each.kind, each.key, each.cache) for each in events if each.function != "ways.beside"]
    assert [(kind, key, "default") for kind in ("miss", "computed", "stored", "hit")] == told
    assert (1, 1, 1) == (cached.stats().hits, cached.stats().misses, cached.stats().computations)


@pytest.mark.parametrize("block", [bypass, lambda: mode("bypass"), lambda: mode("off")], ids=["bypass", "mode", "off"])
def test_other_mode_computes_and_stores_nothing(way: Way, rows: Rows, block: Callable[[], Any]) -> None:
    """Bypassed or off, each call computes; what was stored is served afterwards."""
    cached = way.cached(rows)
    way.get(cached, 1)
    rows.values[1] = "new"

    with block():
        inside = way.get(cached, 1)

    assert ("new", ["old"], [1, 1]) == (inside, way.get(cached, 1), rows.read)


@pytest.mark.django_db(transaction=True)
def test_invalidation_inside_a_transaction_counts_for_it_at_once(
    way: Way, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside, the transaction's own invalidation is seen; after a rollback the old value is served, as before."""
    monkeypatch.setattr(connection, "isolation_level", "read committed", raising=False)
    cached = way.cached(rows)
    way.get(cached, 1)

    with suppress(Undone), transaction.atomic():
        rows.values[1] = "new"
        way.verb(cached, "invalidate", 1)
        inside = way.get(cached, 1)
        raise Undone

    assert ("new", ["old"]) == (inside, way.get(cached, 1))


@pytest.mark.django_db(transaction=True)
def test_value_of_a_transaction_is_found_in_it_and_stored_at_its_commit(
    way: Way, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction finds what it has computed, once, and others do when it commits."""
    monkeypatch.setattr(connection, "isolation_level", "read committed", raising=False)
    cached = way.cached(rows)

    with transaction.atomic():
        inside = [way.get(cached, 1), way.get(cached, 1)]

    assert ([["old"]] * 2, ["old"], [1]) == (inside, way.get(cached, 1), rows.read)


def test_stale_value_is_served_while_one_caller_refreshes(
    way: Way,
    rows: Rows,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Past the timeout the old value is served, as an event, where another caller refreshes."""
    monkeypatch.setattr(refreshing, "_claim", lambda *_: None)
    cached = way.cached(rows, timeout=60, stale_while_revalidate=60)
    way.get(cached, 1)
    rows.values[1] = "new"
    clock.now += 90

    with heard("stale") as events:
        found = way.get(cached, 1)

    assert (["old"], [1], ["stale"]) == (found, rows.read, [each.kind for each in events])


def test_stale_value_stands_in_for_an_exception(way: Way, rows: Rows, clock: Clock) -> None:
    """Past the timeout the old value is served where the computation raises."""
    cached = way.cached(rows, timeout=60, stale_if_error=60)
    way.get(cached, 1)
    rows.error = ZeroDivisionError()
    clock.now += 90

    found = way.get(cached, 1)

    assert (["old"], [1, 1]) == (found, rows.read)


def test_computation_around_it_depends_on_it(way: Way, rows: Rows) -> None:
    """What is asked for inside a computation, as a hit or a miss, ends the outer entry with its own."""
    cached = way.cached(rows)
    way.get(cached, 2)

    @cached_query(name=f"outer{next(_serials)}", ignore=("cached", "way"))
    def outer() -> Any:
        return [way.get(cached, 2), way.get(cached, 1)]

    outer(), outer()
    before = list(rows.read)
    rows.values[2] = "new"
    way.verb(cached, "invalidate", 2)
    after_hit = outer()
    rows.values[1] = "new"
    way.verb(cached, "invalidate", 1)

    assert ([2, 1], ["new", ["old"]], ["new", "new"]) == (before, after_hit, outer())


@pytest.mark.usefixtures("faulty_backend")
def test_failing_cache_never_breaks_the_call(way: Way, rows: Rows) -> None:
    """What can't be read is computed."""
    cached = way.cached(rows)
    way.get(cached, 1)

    with faulty("get_many", raises=OSError()):
        found = way.get(cached, 1)

    # What is remembered needs no cache.
    assert (["old"], [1] if way.is_remembered else [1, 1]) == (found, rows.read)


def test_argument_that_is_no_key_raises(way: Way, rows: Rows) -> None:
    """An argument that can't be in a key is an error that names the function."""
    cached = way.cached(rows)

    with pytest.raises(TypeError, match=cached._spec.name):
        way.get(cached, object())  # type: ignore[arg-type]

    assert [] == rows.read
