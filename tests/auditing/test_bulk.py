"""The auditor and cached functions over many ids: each id is a hit of its own."""

from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import Event, cached_query_many, listening
from cachedeco.auditing.auditor import INVALIDATED, UNCERTAIN
from cachedeco.loading import sampling
from tests.auditing.conftest import TIMEOUT, Background, Told
from tests.loading.refreshing.conftest import Truth
from tests.support.sides import SYNC, Side, both


class Table:
    """Rows that a function over many ids reads, and what it was asked for."""

    def __init__(self) -> None:
        """Begin with three rows."""
        self.rows: dict[int, str] = {1: "one", 2: "two", 3: "three"}
        self.asked: list[list[int]] = []

    def cached(self, side: Side, **options: Any) -> Any:
        """Return a cached function over them, and a way to call it."""

        def rows(ids: list[int]) -> dict[int, str]:
            self.asked.append(ids)
            return {each: self.rows[each] for each in ids if each in self.rows}

        function = side.of(rows)
        return cached_query_many(over="ids", **{"timeout": TIMEOUT, "ignore": ("self",), **options})(function)


@pytest.fixture
def table() -> Table:
    """Give three rows."""
    return Table()


def choosing(*chosen: int) -> Callable[[], float]:
    """Return chance that chooses those hits of a call, by their place in it."""
    places = iter(range(100))
    return lambda: 0.0 if next(places) in chosen else 1.0


@both
def test_each_id_is_audited_for_itself(side: Side, later: Background, table: Table, told: Told) -> None:
    """One call computes the ids of a sample anew; what no invalidation has reached is reported by its own key."""
    rows = table.cached(side)
    side.call(rows, [1, 2, 3])
    table.rows[2] = "new"
    side.call(rows, [3, 2, 1])

    later.look()
    later.look()

    assert [[1, 2, 3], [3, 2, 1], [2]] == table.asked
    keys = rows.keys_for([1, 2, 3])
    assert [("audited", keys[3]), ("audited", keys[1]), ("inconsistent", keys[2])] == [(e.kind, e.key) for e in told]
    assert "'two' and 'new'" in told[-1].reason


@both
def test_only_ids_of_the_sample_are_computed_anew(
    side: Side, later: Background, table: Table, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chance decides for each id."""
    rows = table.cached(side)
    side.call(rows, [1, 2, 3])
    monkeypatch.setattr(sampling, "random", choosing(0, 2))
    side.call(rows, [1, 2, 3])

    later.look()

    assert ([[1, 2, 3], [1, 3]], ["audited"] * 2) == (table.asked, told.kinds)


@both
def test_caller_gets_what_is_there_and_what_is_missing(side: Side, later: Background, table: Table) -> None:
    """An audit of what was served goes with a computation of what was not, and tells of each hit once."""
    rows = table.cached(side)
    side.call(rows, [1, 2])
    seen: list[Event] = []

    with listening(seen.append):
        found = side.call(rows, [3, 2, 9, 1])

    assert ([(3, "three"), (2, "two"), (1, "one")], [[1, 2], [3, 9]]) == ([*found.items()], table.asked)
    assert ["hit"] * 2 == [each.kind for each in seen if each.kind == "hit"]
    assert 1 == len(later.jobs)


@both
@pytest.mark.parametrize(("comes", "kinds"), [(True, ["inconsistent"]), (False, ["audited"])])
def test_id_that_is_absent_is_audited(  # noqa: PLR0913 -- a pair
    side: Side, later: Background, table: Table, told: Told, *, comes: bool, kinds: list[str]
) -> None:
    """That there is no such id is remembered, and may become old as any value."""
    rows = table.cached(side)
    side.call(rows, [9])
    if comes:
        table.rows[9] = "nine"
    side.call(rows, [9])

    later.look()
    later.look()

    assert kinds == told.kinds


@both
def test_id_that_was_invalidated_is_explained_and_the_other_is_not(
    side: Side, later: Background, table: Table, told: Told
) -> None:
    """One id's invalidation explains nothing of another's."""
    rows = table.cached(side)
    side.call(rows, [1, 2])
    table.rows |= {1: "new", 2: "new"}
    side.call(rows, [1, 2])
    later.look()
    side.call(rows.invalidate, [1])

    later.look()

    keys = rows.keys_for([1, 2])
    assert [("audited", keys[1], INVALIDATED), ("inconsistent", keys[2])] == [
        (e.kind, e.key, e.reason)[: 3 if e.kind == "audited" else 2] for e in told
    ]


@both
def test_ids_with_other_keys_in_the_background_are_not_audited(
    side: Side, later: Background, table: Table, told: Told
) -> None:
    """What varies on the caller's thread alone is computed for no other thread."""
    tenant = ["one"]
    rows = table.cached(side, vary=lambda: tenant[0])
    side.call(rows, [1, 2])
    side.call(rows, [1, 2])
    tenant[0] = "nobody"

    later.look()

    assert ([("error", "The audit failed")], [[1, 2]]) == (told.reasons, table.asked)


@both
def test_function_that_raises_for_ids_is_an_event(side: Side, later: Background, table: Table, told: Told) -> None:
    """It is told once for the call, and no call is accused."""
    rows = table.cached(side)
    side.call(rows, [1, 2])
    side.call(rows, [1, 2])
    table.rows = None  # type: ignore[assignment] # a table that can't be read

    later.look()

    assert ["error"] == told.kinds


@both
def test_ids_whose_calls_inside_may_change_accuse_no_call(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """What holds of calls inside holds here."""
    inner = truth.cached(SYNC, timeout=TIMEOUT, audit=False)

    def rows(ids: list[int]) -> dict[int, object]:
        return {each: inner(each) for each in ids}

    outer = cached_query_many(over="ids", timeout=TIMEOUT, ignore=("inner",))(side.of(rows) if side.is_async else rows)
    side.call(outer, [1, 2])
    truth.value = "new"
    side.call(outer, [1, 2])

    later.look()

    assert [("audited", UNCERTAIN)] * 2 == told.reasons


@both
def test_function_over_many_ids_that_opts_out_is_not_audited(side: Side, later: Background, table: Table) -> None:
    """The parameter is the same."""
    rows = table.cached(side, audit=False)
    side.call(rows, [1, 2])

    side.call(rows, [1, 2])

    assert [] == later.jobs
