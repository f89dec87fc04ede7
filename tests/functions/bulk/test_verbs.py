"""The verbs: each takes a call, with many ids."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from pytest_django import Settings

from cachedeco import CachedQueryMany, bypass, mode
from cachedeco.loading.writing import UNSERIALIZABLE
from cachedeco.testing import capture_events
from tests.loading.bulk.tables import Clock, Table
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.stored import bare, bare_each

EVERYWHERE = pytest.mark.usefixtures("backend")


@EVERYWHERE
@both
def test_invalidate_reaches_the_ids_and_no_others(side: Side, table: Table) -> None:
    """Invalidated ids are computed again; the others are served."""
    many = table.cached(side)
    side.call(many, [1, 2, 3, 404])
    table.rows |= {2: "new", 3: "new", 404: "new"}

    side.call(many.invalidate, (2, 404))

    assert {1: "row 1", 2: "new", 3: "row 3", 404: "new"} == side.call(many, [1, 2, 3, 404])
    assert [[1, 2, 3, 404], [2, 404]] == table.asked


@both
def test_invalidate_reaches_all_that_an_id_varies_on(side: Side, table: Table) -> None:
    """One invalidation reaches every variant of an id."""
    language = ["en"]
    many = table.cached(side, vary=lambda: language[0])
    for each in ("en", "de"):
        language[0] = each
        side.call(many, [1, 2])

    side.call(many.invalidate, [1])

    for each in ("en", "de"):
        language[0] = each
        assert {2: "row 2"} == side.call(many.peek, [1, 2])


@EVERYWHERE
@both
def test_invalidate_all_reaches_every_id(side: Side, table: Table) -> None:
    """Every id is computed again."""
    many = table.cached(side)
    side.call(many, [1, 2])

    side.call(many.invalidate_all)

    assert {} == side.call(many.peek, [1, 2])


@both
def test_invalidate_is_not_sent_while_off(side: Side, table: Table, commands: Any) -> None:
    """In the mode off the cache is never touched."""
    many = table.cached(side)

    with mode("off"):
        side.call(many.invalidate, [1])
        side.call(many.call([1]).set, {1: "set"})
        found = side.call(many.peek, [1])

    assert ({}, []) == (found, commands)


@both
def test_peek_gives_what_is_stored_and_neither_computes_nor_counts(side: Side, table: Table, clock: Clock) -> None:
    """Only ids with a stored value are in what it gives: not those that are absent, due or never asked for."""
    many = table.cached(side, timeout=100)
    side.call(many, [1])
    clock.pass_(60)
    side.call(many, [2, 404])
    clock.pass_(60)
    before = many.stats()

    found = side.call(many.peek, [404, 3, 2, 1])

    assert ({2: "row 2"}, before, 2) == (found, many.stats(), len(table.asked))


@EVERYWHERE
@both
def test_refresh_computes_and_stores_for_all_ids(side: Side, table: Table) -> None:
    """What is stored does not matter to a refresh, and what it has computed is served."""
    many = table.cached(side)
    side.call(many, [1, 2])
    table.rows = {1: "new"}

    found = side.call(many.refresh, [2, 1])

    assert ({1: "new"}, {1: "new"}) == (found, side.call(many, [1, 2]))
    assert [[1, 2], [2, 1]] == table.asked


@both
def test_refresh_that_is_not_stored_invalidates(side: Side, table: Table) -> None:
    """Where nothing may be stored, what is stored is invalidated: it is old."""
    many = table.cached(side)
    side.call(many, [1, 2, 3])
    table.rows[1] = "new"

    with bypass():
        found = side.call(many.refresh, [1, 2])

    assert ({1: "new", 2: "row 2"}, {3: "row 3"}) == (found, side.call(many.peek, [1, 2, 3]))


def test_refresh_invalidates_the_ids_whose_values_it_does_not_store(table: Table) -> None:
    """A value that cache_if refuses invalidates its own id, and no other."""
    many = table.cached(cache_if=lambda value: value != "secret")
    many([1, 2])
    table.rows[1] = "secret"

    found = many.refresh([1, 2])

    assert ({1: "secret", 2: "row 2"}, {2: "row 2"}) == (found, many.peek([1, 2]))


def test_refresh_of_an_async_function_says_what_to_use(table: Table) -> None:
    """The sync verb can't await."""
    many = table.cached(Side(is_async=True))

    with pytest.raises(TypeError, match=r"use arefresh\(\)"):
        many.refresh([1])


@EVERYWHERE
@both
def test_set_stores_what_the_function_would_give(side: Side, table: Table) -> None:
    """Values are served, ids of the call without a value are absent, other ids are left alone."""
    many = table.cached(side)
    side.call(many, [3])

    side.call(many.call([1, 2]).set, {1: "set", 3: "not asked"})

    assert {1: "set", 3: "row 3"} == side.call(many, [1, 2, 3])
    assert [[3]] == table.asked


@both
def test_set_in_bypass_invalidates(side: Side, table: Table) -> None:
    """What is not stored invalidates."""
    many = table.cached(side)
    side.call(many, [1, 2])

    with bypass():
        side.call(many.call([1]).set, {1: "set"})

    assert {2: "row 2"} == side.call(many.peek, [1, 2])


@pytest.mark.parametrize(
    ("values", "text"),
    [([1], "given a list; it takes a mapping"), ({"1": "row"}, "is for 1 and was given '1'")],
    ids=["list", "text"],
)
def test_set_refuses_what_the_function_may_not_return(table: Table, values: Any, text: str) -> None:
    """No mapping, or ids of another type, are errors."""
    many = table.cached()

    with pytest.raises(TypeError, match=text):
        many.call([1]).set(values)


@both
def test_keys_are_given_by_id(side: Side, table: Table) -> None:
    """Each id has a key of its own, under which its entry lies."""
    many = table.cached(side, name="many.rows", key="{each}")

    found = side.call(many.keys_for, [1, "1"])

    assert {1: "(each=1|)", "1": "(each=1'1|)"} == {
        each: key[-len(key.partition("(")[2]) - 1 :] for each, key in zip(found, bare_each(found.values()), strict=True)
    }
    assert all(bare(key).startswith("cd:e:many.rows") for key in found.values())


def test_uncached_is_the_plain_function(table: Table) -> None:
    """It returns what the function returns, for the ids as they are given."""
    many = table.cached()

    assert {1: "row 1"} == many.uncached((1, 1, 404))
    assert [(1, 1, 404)] == table.asked


def test_events_tell_of_ids_and_of_one_computation(table: Table) -> None:
    """Misses, hits and what was stored are told for each id, with its key; a computation once."""
    many = table.cached()
    keys = many.keys_for([1, 2])
    many([1])

    with capture_events() as events:
        many([1, 2, 404])

    told = [event.kind for event in events]
    assert ["hit", "miss", "miss", "computed", "stored", "stored"] == told
    assert [keys[1], keys[2]] == [event.key for event in events[:2]]


def test_absent_id_is_not_shown_to_the_users_callables(table: Table) -> None:
    """Neither timeout= nor cache_if= is asked about an id that has no value."""
    asked: list[object] = []
    many = table.cached(
        timeout=lambda value: asked.append(value) or 100, cache_if=lambda value: asked.append(value) or 1
    )

    found = [many([1, 404]), many([1, 404])]

    assert [{1: "row 1"}, {1: "row 1"}] == found
    assert (["row 1", "row 1"], [[1, 404]]) == (asked, table.asked)


@pytest.mark.parametrize(("seconds", "count"), [(99, 1), (101, 2)])
def test_absent_id_is_kept_for_the_setting_where_the_timeout_is_a_callable(
    table: Table,
    clock: Clock,
    settings: Settings,
    seconds: int,
    count: int,
) -> None:
    """The callable can't be asked about it, so the setting TIMEOUT says how long."""
    settings.CACHEDECO = {"TIMEOUT": 100}
    many = table.cached(timeout=lambda _: 1000)
    many([1, 404])
    clock.pass_(seconds)

    many([1, 404])

    assert [[1, 404], [404]][:count] == table.asked


def test_value_that_can_not_be_stored_is_returned_and_the_others_are_stored() -> None:
    """One value that can't be pickled is an event, and no harm to the others."""
    table = Table({1: lambda: None, 2: "row"})
    many = table.cached()

    with capture_events(many) as events:
        found = many([1, 2])

    assert table.rows == found
    assert {2: "row"} == many.peek([1, 2])
    assert [UNSERIALIZABLE] == [event.reason for event in events if event.kind == "error"]


def test_it_is_public(table: Table) -> None:
    """What the decorator makes is a CachedQueryMany, which says its name."""
    many = table.cached(name="many.shown")

    assert isinstance(many, CachedQueryMany)
    assert "<cached_query_many many.shown>" == repr(many)


@pytest.mark.parametrize("verb", ["set", "refresh"])
@pytest.mark.usefixtures("faulty_backend")
def test_id_whose_entry_does_not_arrive_is_invalidated(table: Table, verb: str) -> None:
    """What the cache has not acknowledged may still be the old value: it must not be served."""
    many = table.cached()
    many([1, 2])
    table.rows = {1: "new", 2: "row 2"}
    lost = many.keys_for([1])[1]

    with faulty("set_many", returns=[lost], times=1):
        many.call([1, 2]).set(table.rows) if verb == "set" else many.refresh([1, 2])

    assert table.rows == many([1, 2])
    assert (1, 1) == (many.stats().hits, many.stats().misses - 2)


@both
def test_error_in_bypass_is_raised(side: Side, table: Table) -> None:
    """The function's own error reaches the caller there too, and a refresh then invalidates nothing."""
    many = table.cached(side)
    side.call(many, [1])
    table.error = LookupError("down")

    with bypass(), pytest.raises(LookupError, match="down"):
        side.call(many.refresh, [1])

    assert {1: "row 1"} == side.call(many.peek, [1])


def test_sync_function_is_refreshed_from_async_code(table: Table) -> None:
    """The twin exists whether the function is async or not."""
    many = table.cached()

    assert {1: "row 1"} == async_to_sync(many.arefresh)([1]) == async_to_sync(many.apeek)([1])
