"""A cached QuerySet: fetched once, a QuerySet again for each caller that is served."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.models import QuerySet

from cachedeco import MISSING, bypass
from tests.models import Club
from tests.support.clocks import Clock
from tests.support.events import heard
from tests.support.sides import Side, both

pytestmark = pytest.mark.django_db

AssertQueries = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def _clubs() -> None:
    """Save two clubs."""
    Club.objects.bulk_create([Club(name="Rowing"), Club(name="Chess")])


@both
def test_queryset_is_fetched_once(side: Side, django_assert_num_queries: AssertQueries) -> None:
    """The rows are fetched before the QuerySet is stored: no caller sends the query again, not even the first."""

    @side.cached()
    def clubs() -> QuerySet[Club]:
        return Club.objects.order_by("name")

    with django_assert_num_queries(1):
        computed = side.call(clubs)
        names = [club.name for club in computed]

    assert ["Chess", "Rowing"] == names


@both
@pytest.mark.parametrize("inside", [lambda rows: rows, lambda rows: {"clubs": rows}], ids=["plain", "inside"])
def test_time_of_a_computation_has_that_of_the_query_of_its_queryset(
    side: Side, monkeypatch: pytest.MonkeyPatch, inside: Callable[[QuerySet[Club]], object]
) -> None:
    """That is what a hit saves, and what statistics and early refreshes go by; to make a QuerySet takes no time."""
    clock = Clock()
    clock.install(monkeypatch)

    def take_seconds(execute: Callable[..., Any], *arguments: Any) -> Any:
        clock.now += 5
        return execute(*arguments)

    @side.cached(ignore=("inside",))
    def clubs() -> object:
        return inside(Club.objects.order_by("name"))

    with heard("computed", "hit") as events, connection.execute_wrapper(take_seconds):
        side.call(clubs)
        side.call(clubs)

    assert [("computed", 5.0), ("hit", 5.0)] == [(event.kind, event.seconds) for event in events]


@both
def test_queryset_on_a_hit_needs_no_query(side: Side, django_assert_num_queries: AssertQueries) -> None:
    """A hit has its rows: elsewhere a lazy QuerySet was stored, which asked the database at each use."""

    @side.cached()
    def clubs() -> QuerySet[Club]:
        return Club.objects.order_by("name")

    side.call(clubs)

    with django_assert_num_queries(0):
        served = side.call(clubs)
        found = [club.name for club in served], len(served), served.count(), served.exists(), bool(served)

    assert (["Chess", "Rowing"], 2, 2, True, True) == found


@both
def test_queryset_on_a_hit_is_a_queryset(side: Side, django_assert_num_queries: AssertQueries) -> None:
    """A caller that is served can filter on, which is a query of its own."""

    @side.cached()
    def clubs() -> QuerySet[Club]:
        return Club.objects.order_by("name")

    side.call(clubs)

    with django_assert_num_queries(1):
        found = list(side.call(clubs).filter(name="Chess").values_list("name", flat=True))

    assert ["Chess"] == found


@both
@pytest.mark.parametrize(
    "narrow",
    [
        lambda rows: rows.values("name"),
        lambda rows: rows.values_list("name", flat=True),
        lambda rows: rows[:1],
        lambda rows: rows.only("name"),
        lambda rows: rows.none(),
        lambda rows: rows.prefetch_related("classes"),
        lambda rows: {"clubs": rows},
        lambda rows: [rows],
    ],
    ids=["values", "flat", "slice", "only", "none", "prefetch", "in a dict", "in a list"],
)
def test_queryset_of_any_form_needs_no_query_on_a_hit(
    side: Side, narrow: Callable[[Any], Any], django_assert_num_queries: AssertQueries
) -> None:
    """A QuerySet of any kind, at any place in the result, is fetched when it is stored."""

    @side.cached(ignore=("narrow",))
    def clubs() -> object:
        return narrow(Club.objects.order_by("name"))

    expected = repr(side.call(clubs))

    with django_assert_num_queries(0):
        found = repr(list(side.call(clubs))) if expected.startswith("[<") else repr(side.call(clubs))

    assert expected == found


@both
def test_raw_queryset_is_refused(side: Side) -> None:
    """What `raw()` gives is as lazy as a QuerySet, and can't be stored with its rows: an error says what to return."""

    @side.cached()
    def clubs() -> object:
        return Club.objects.raw("SELECT * FROM tests_club ORDER BY name")

    with pytest.raises(TypeError, match=r"return list\(\.\.\.\)"):
        side.call(clubs)


@both
def test_queryset_whose_query_fails_raises_for_the_caller(side: Side) -> None:
    """An error of the database is the function's own: it reaches the caller, and nothing is stored."""

    @side.cached()
    def clubs() -> QuerySet[Club]:
        return Club.objects.extra(where=["no_such_column = 1"])

    with pytest.raises(DatabaseError, match="no_such_column"):
        side.call(clubs)

    assert MISSING is side.call(clubs.peek)


@both
def test_queryset_bypassed_is_left_lazy(side: Side, django_assert_num_queries: AssertQueries) -> None:
    """Past the cache, the function's result is what the function returned."""

    @side.cached()
    def clubs() -> QuerySet[Club]:
        return Club.objects.order_by("name")

    with django_assert_num_queries(0), bypass():
        found = side.call(clubs)

    assert ["Chess", "Rowing"] == [club.name for club in found]


@both
def test_row_is_served_with_what_it_had_loaded(side: Side, django_assert_num_queries: AssertQueries) -> None:
    """A model instance comes back saved, with its fields, and needs no query."""

    @side.cached()
    def club(name: str) -> Club:
        return Club(pk=7, name=name)

    side.call(club, "Golf")

    with django_assert_num_queries(0):
        found = side.call(club, name="Golf")

    assert (7, "Golf") == (found.pk, found.name)
