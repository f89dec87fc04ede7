"""What a call gives: the rows of the ids asked, in their order, each from its own entry or from one computation."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest

from cachedeco import bypass, mode
from tests.loading.bulk.tables import Clock, Table
from tests.models import Club
from tests.support.sides import Side, both

EVERYWHERE = pytest.mark.usefixtures("backend")


@EVERYWHERE
@both
def test_call_computes_only_what_is_missing(side: Side, table: Table) -> None:
    """A second call computes for the ids that the first one did not have, in the order asked."""
    many = table.cached(side)
    side.call(many, [3, 1])

    found = side.call(many, [5, 1, 4, 3])

    assert [[3, 1], [5, 4]] == table.asked
    assert [(5, "row 5"), (1, "row 1"), (4, "row 4"), (3, "row 3")] == list(found.items())


@EVERYWHERE
@both
def test_absent_id_is_remembered(side: Side, table: Table) -> None:
    """An id that the function does not know is not in what a call gives, and is asked for once."""
    many = table.cached(side)

    found = [side.call(many, [1, 404]), side.call(many, [404, 1]), side.call(many, [404])]

    assert [{1: "row 1"}, {1: "row 1"}, {}] == found
    assert [[1, 404]] == table.asked


@both
def test_absent_id_is_found_once_it_is_invalidated(side: Side, table: Table) -> None:
    """What has come to be is found after an invalidation, not before."""
    many = table.cached(side)
    side.call(many, [404])
    table.rows[404] = "new"

    before = side.call(many, [404])
    side.call(many.invalidate, [404])

    assert ({}, {404: "new"}) == (before, side.call(many, [404]))


@EVERYWHERE
@both
def test_none_false_and_empty_are_values(side: Side) -> None:
    """A value that is false is no absent one."""
    table = Table({1: None, 2: False, 3: [], 4: 0})
    many = table.cached(side)

    first, second = (side.call(many, [1, 2, 3, 4]) for _ in range(2))

    assert {1: None, 2: False, 3: [], 4: 0} == first == second
    assert [[1, 2, 3, 4]] == table.asked


@both
def test_no_ids_is_no_call_and_no_command(side: Side, table: Table, commands: Any) -> None:
    """For no ids nothing is computed, nothing is sent, and an empty dict is returned."""
    many = table.cached(side)

    found = [side.call(many, []), side.call(many.refresh, ()), side.call(many.peek, iter([]))]
    side.call(many.invalidate, [])
    side.call(many.call([]).set, {})
    with bypass():
        found.append(side.call(many, []))

    assert [{}, {}, {}, {}] == found
    assert ([], []) == (table.asked, commands)


@both
def test_id_that_is_asked_twice_is_computed_once(side: Side, table: Table) -> None:
    """Duplicates are one id."""
    many = table.cached(side)

    found = side.call(many, [2, 1, 2, 2])

    assert ([(2, "row 2"), (1, "row 1")], [[2, 1]]) == (list(found.items()), table.asked)


@EVERYWHERE
@both
def test_ids_keep_their_type(side: Side) -> None:
    """7 and "7" are two ids, each with its own value, and the caller gets back what he asked for."""
    table = Table({7: "number", "7": "text", Decimal("7.5"): "decimal"})
    many = table.cached(side)
    side.call(many, [7])

    found = side.call(many, ["7", 7, Decimal("7.5")])

    assert [("7", "text"), (7, "number"), (Decimal("7.5"), "decimal")] == list(found.items())
    assert [[7], ["7", Decimal("7.5")]] == table.asked


def test_ids_that_are_equal_are_the_first_of_them(table: Table) -> None:
    """1, 1.0 and True are one key of a dict, so they are one id here too."""
    many = table.cached()

    assert "{1.0: 'row 1'}" == repr(many([1.0, 1, True]))
    assert [[1.0]] == table.asked


@both
@pytest.mark.parametrize("kind", [tuple, set, frozenset, iter, dict.fromkeys], ids=lambda kind: kind.__name__)
def test_any_collection_is_taken_and_the_function_gets_a_list(
    side: Side, table: Table, kind: Callable[[Iterable[int]], Any]
) -> None:
    """For any collection of ids, the function gets a list."""
    many = table.cached(side)

    found = side.call(many, kind([1, 2]))

    assert ({1: "row 1", 2: "row 2"}, [[1, 2]]) == (found, table.asked)


@pytest.mark.django_db
@both
def test_queryset_of_ids_is_taken(side: Side, table: Table) -> None:
    """A QuerySet of ids is evaluated once."""
    table.rows[(club := Club.objects.create(name="North")).pk] = "North"
    many = table.cached(side)

    found = side.call(many, Club.objects.values_list("pk", flat=True))

    assert {club.pk: "North"} == found


def _in_bulk(ids: list[int]) -> dict[int, Club]:
    return Club.objects.in_bulk(ids)


@pytest.mark.django_db
def test_rows_are_served_as_in_bulk_gives_them() -> None:
    """The example: what in_bulk() gives is stored row by row."""
    clubs = [Club.objects.create(name=name) for name in "ab"]
    many = Table({}).over(_in_bulk)
    ids = [club.pk for club in reversed(clubs)]

    first, second = many(ids), many(ids)

    assert list(zip(ids, reversed(clubs), strict=True)) == list(first.items()) == list(second.items())
    assert first[ids[0]] is not second[ids[0]]


@both
def test_other_parameters_are_part_of_the_key(side: Side, table: Table) -> None:
    """One id in two languages is two entries; defaults, positions and names of one call agree."""

    def rows_of(ids: list[int], lang: str = "en", *, loud: bool = False) -> dict[int, str]:
        return {each: f"{lang} {row} {loud}" for each, row in table.read(ids).items()}

    many = table.over(rows_of, side)
    side.call(many, [1])

    found = [
        side.call(many, ids=[1], lang="en"),
        side.call(many, [1], "en", loud=False),
        side.call(many, [1], "de"),
        side.call(many, [1], loud=True),
    ]

    assert ["en row 1 False", "en row 1 False", "de row 1 False", "en row 1 True"] == [each[1] for each in found]
    assert [[1]] * 3 == table.asked


@both
def test_ids_may_come_by_name_by_default_or_behind_others(side: Side, table: Table) -> None:
    """The ids are found wherever the function takes them, and what is around them reaches it as it was given."""

    def behind(lang: str, *more: str, ids: tuple[int, ...] = (1, 2), **rest: int) -> dict[int, object]:
        return {each: (row, lang, more, rest) for each, row in table.read(list(ids)).items()}

    many = table.over(behind, side)

    found = [side.call(many, "en", "a", "b", ids=[1], x=1), side.call(many, "en")]

    assert [{1: ("row 1", "en", ("a", "b"), {"x": 1})}, {n: (f"row {n}", "en", (), {}) for n in (1, 2)}] == found


@EVERYWHERE
def test_hits_keep_their_own_timeout(table: Table, clock: Clock) -> None:
    """An entry that is served beside others that are computed is due when it was, and they are due later."""
    many = table.cached(timeout=100)
    many([1])
    clock.pass_(60)
    many([1, 2])
    clock.pass_(60)

    many([1, 2])

    assert [[1], [2], [1]] == table.asked


@both
@pytest.mark.parametrize("name", ["bypass", "off"])
def test_call_past_the_cache_gives_the_same_shape(side: Side, table: Table, commands: Any, name: Any) -> None:
    """Without the cache the function gets all ids, each once, and the caller the same dict as with it."""
    many = table.cached(side)

    with mode(name):
        found = side.call(many, (404, 2, 1, 2))

    assert ([(2, "row 2"), (1, "row 1")], [[404, 2, 1]], []) == (list(found.items()), table.asked, commands)
    assert (3, 1) == (many.stats().bypassed, many.stats().computations)


def test_statistics_count_ids_and_computations(table: Table) -> None:
    """Hits and misses are counted for each id, an absent one too; a computation is one."""
    many = table.cached()
    many([1, 2, 404])
    many([1, 2, 3, 404])

    stats = many.stats()

    assert (3, 4, 2, 0) == (stats.hits, stats.misses, stats.computations, stats.errors)


def test_seconds_saved_are_a_share_for_each_id(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hit has saved is the computation's time divided by its ids."""
    ticks = iter([0.0, 8.0, 8.0])
    monkeypatch.setattr("cachedeco.loading.computing.perf_counter", lambda: next(ticks))
    many = table.cached()
    many([1, 2, 3, 4])
    many([1])

    assert 2.0 == many.stats().seconds_saved


@both
def test_cached_value_is_not_changed_by_its_callers(side: Side) -> None:
    """Who changes a value that he got changes it for himself."""
    table = Table({1: ["row"]})
    many = table.cached(side)
    side.call(many, [1])[1].append("mine")
    side.call(many, [1])[1].append("mine")

    assert {1: ["row"]} == side.call(many, [1])


@pytest.mark.covering(1)  # the same code cuts the keys for each backend
@pytest.mark.parametrize("count", [999, 1000, 2001])
@pytest.mark.parametrize("backend", ["memcached", "redis", "database"], indirect=True)
@pytest.mark.usefixtures("backend")
def test_any_number_of_ids_is_served(count: int) -> None:
    """More keys than one command takes are asked for, stored and invalidated in several."""
    table = Table(dict.fromkeys(range(count), "row"))
    many = table.cached()
    ids = range(count)

    first, second = many(ids), many(ids)
    many.invalidate(ids)

    assert (table.rows, table.rows, {}) == (first, second, many.peek(ids))
    assert (count, 1) == (many.stats().hits, len(table.asked))
