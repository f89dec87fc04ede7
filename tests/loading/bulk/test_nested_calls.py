"""Calls inside calls, where one of them is over many ids."""

from contextlib import nullcontext
from itertools import count
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from cachedeco import Namespace, bypass, cached_query
from cachedeco.testing import capture_events
from cachedeco.tracking import nested_names
from tests.conftest import UseCaches
from tests.loading.bulk.tables import Table
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.sides import SYNC, Side, both

_serials = count()


def around(many: Any, ids: list[int], *, bypassed: bool = False) -> Any:
    """Return a cached call around a call for many ids, and the list that grows with each computation of it."""
    calls: list[None] = []

    @cached_query(ignore=("many", "ids", "bypassed", "calls"), name=f"around{next(_serials)}")
    def outer() -> list[str]:
        calls.append(None)
        with bypass() if bypassed else nullcontext():
            return sorted(many(ids).values())

    return outer, calls


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("invalidate", ["id", "all", "namespace"])
def test_call_around_depends_on_every_id_inside(table: Table, many: Any, invalidate: str, *, warm: bool) -> None:
    """Each invalidation of an id inside, hit or computed, makes the call around it a miss."""
    if warm:
        many([1])
    outer, calls = around(many, [1, 2, 404])
    first = outer()
    table.rows[404] = "new"

    {"id": lambda: many.invalidate([404]), "all": many.invalidate_all, "namespace": Namespace("row", 404).invalidate}[
        invalidate
    ]()

    assert (["row 1", "row 2"], ["new", "row 1", "row 2"], 2) == (first, outer(), len(calls))


def test_call_around_is_served_where_another_id_is_invalidated(many: Any) -> None:
    """An id that was not asked for inside is none of its business."""
    outer, calls = around(many, [1, 2])
    outer()

    many.invalidate([3])

    assert (["row 1", "row 2"], 1) == (outer(), len(calls))


def test_call_around_is_not_stored_where_the_inner_one_went_past_the_cache(many: Any) -> None:
    """No invalidation could reach it."""
    outer, calls = around(many, [1], bypassed=True)

    outer()
    outer()

    assert 2 == len(calls)


@both
def test_ids_depend_on_the_calls_inside_their_computation(side: Side, table: Table, commands: Commands) -> None:
    """What a cached call inside depends on, each entry depends on, also for a process that has never seen it."""
    suffix = ["a"]

    @cached_query(ignore=("suffix",), name=f"suffix{next(_serials)}")
    def inner() -> str:
        return suffix[0]

    def rows_of(ids: list[int]) -> dict[int, str]:
        return {each: row + inner() for each, row in table.read(ids).items()}

    many = table.over(rows_of, side)
    side.call(many, [1, 2])
    nested_names.forget()
    commands.clear()
    strange = side.call(many, [1, 2])
    costs = commands.names
    suffix[0] = "b"
    inner.invalidate()

    assert ({1: "row 1a", 2: "row 2a"}, ["get_many", "get_many"]) == (strange, costs)
    assert ({}, {1: "row 1b", 2: "row 2b"}) == (side.call(many.peek, [1, 2]), side.call(many, [1, 2]))
    assert {2: "row 2b"} == side.call(many, [2])


@pytest.mark.django_db
def test_what_a_transaction_has_invalidated_inside_is_old_for_it(table: Table) -> None:
    """An id whose inner call this transaction has invalidated is computed."""

    @cached_query(name="inner touched")
    def inner() -> str:
        return "inner"

    def rows_of(ids: list[int]) -> dict[int, str]:
        inner()
        return table.read(ids)

    many = table.over(rows_of, SYNC)
    many([1])

    with transaction.atomic():
        inner.invalidate()
        many([1])

    assert [[1], [1]] == table.asked


def test_more_tokens_than_an_entry_can_tell_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call around more ids than that is computed each time, and that is an event."""
    monkeypatch.setattr("cachedeco.loading.new_entries.MOST_TOKENS", 20)
    many = Table(dict.fromkeys(range(30), "row")).cached()
    small, _ = around(many, [1, 2])
    small()
    large = cached_query(name="large", ignore=("many",))(lambda: len(many(range(30))))

    with capture_events(large) as events:
        large()

    assert ["row", "row"] == small.peek()
    assert ["It depends on more than 20 tokens, so it is not stored"] == [
        each.reason for each in events if each.kind == "error"
    ]


def test_id_whose_inner_call_is_in_a_cache_that_fails_is_computed_with_the_others(
    table: Table, use_caches: UseCaches, settings: Settings
) -> None:
    """Its tokens can't be read, and theirs name the lease."""
    use_caches(default="locmem", other="faulty")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}

    @cached_query(name="inner elsewhere", cache="other")
    def inner() -> str:
        return "inner"

    def rows_of(ids: list[int]) -> dict[int, str]:
        if 1 in ids:
            inner()
        return table.read(ids)

    many = table.over(rows_of, SYNC)
    many([1])
    many([2])
    many.invalidate_all()

    with faulty("get_many", raises=OSError()):
        found = many([1, 2])

    assert {1: "row 1", 2: "row 2"} == found
