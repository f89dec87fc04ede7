"""The tables that a function is known to read grow while its calls run: in another thread, and in another process."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from threading import Event
from typing import Any

import pytest
from django.db import transaction

from cachedeco import AUTO, MISSING, cached_query_many, deferred_invalidation
from cachedeco.storage.store import Store
from tests.models import Club, Member
from tests.support.threads import PATIENCE_SECONDS, started
from tests.tracking.test_auto import BRANCH, auto, branching, one_tables

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

blocks = pytest.mark.parametrize("block", [transaction.atomic, deferred_invalidation])


@pytest.fixture(autouse=True)
def _no_branch() -> Iterator[None]:
    BRANCH["members"] = False
    yield
    BRANCH["members"] = False


def test_table_that_another_call_has_taught_meanwhile_is_a_dependency() -> None:
    """A thread teaches the function a table that a running call then reads: no process that knows less serves it."""
    begun, go = Event(), Event()

    def either(number: int) -> Any:
        if number == 1:
            begun.set()
            go.wait(PATIENCE_SECONDS)
        return Club.objects.count() + (Member.objects.count() if number else 0)

    one, other = auto(either), auto(either)
    assert (0, 0) == (one(0), other(0))  # both know the club's table
    with started(lambda: one(1)) as running:
        begun.wait(PATIENCE_SECONDS)
        one(2)
        go.set()
        running.result(PATIENCE_SECONDS)
    Member.objects.create(name="new")

    assert (1, 1) == (other(1), one(1))


@blocks
def test_own_writes_are_seen_where_another_process_knows_more(
    block: Callable[[], AbstractContextManager[None]],
) -> None:
    """An entry under a table that this process does not know, and that its block has written, is not served."""
    one, other = auto(branching), auto(branching)
    assert (0, 0) == (one(), other())
    BRANCH["members"] = True
    one.refresh()

    with block():
        Member.objects.create(name="new")
        assert 1 == other()


@blocks
def test_own_writes_are_seen_by_calls_for_many(block: Callable[[], AbstractContextManager[None]]) -> None:
    """A call for many ids is not served what its block has invalidated, and looks past it in `peek()`."""
    key = Club.objects.create(name="old").pk
    names_of([key])

    with block():
        Club.objects.update(name="new")
        assert ({}, {key: "new"}) == (names_of.peek([key]), names_of([key]))


def test_peek_finds_what_another_process_has_stored_under_more_tables() -> None:
    """It would be a miss for ever in a process that only looks."""
    one, other = auto(branching), auto(branching)
    assert (0, 0) == (one(), other())
    BRANCH["members"] = True
    one.refresh()

    assert other.peek() is not MISSING


def test_another_version_begins_with_no_tables() -> None:
    """A function that reads a table no more is invalidated by it no more: tables are known of a version."""
    BRANCH["members"] = True
    one = auto(branching)
    one()
    BRANCH["members"] = False
    same, other = auto(branching), auto(branching, version=2)
    same()
    other()
    Member.objects.create(name="new")

    assert (MISSING, 0) == (same.peek(), other.peek())


@cached_query_many(over="ids", depends_on=[AUTO], name="growing.names_of")
def names_of(ids: list[int]) -> dict[int, str]:
    """Return the names of clubs."""
    return {club.pk: club.name for club in Club.objects.filter(pk__in=ids)}


def test_values_for_many_that_are_given_depend_on_what_is_known() -> None:
    """`refresh()` and `set()` store under the tables that the function is known to read."""
    key = Club.objects.create(name="old").pk
    names_of([key])
    call = names_of.call([key])
    seen = []
    for store in (call.refresh, lambda: call.set({key: "old"})):
        store()
        seen.append(call.peek())
        Club.objects.update(name="old")
        seen.append(call.peek())

    assert [{key: "old"}, {}, {key: "old"}, {}] == seen


def test_lease_that_was_taken_although_refused_holds_for_the_tables_of_its_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread teaches the function a table between the claim and the look: the call is right, and raises nothing."""
    cached = auto(branching)
    cached()
    cached.invalidate()
    BRANCH["members"] = True
    add = Store.add_each

    def unlucky(store: Store, items: Any) -> list[bool]:
        is_added = add(store, items)
        if any(")@" in key for key, _, _ in items):
            one_tables(cached).learn(["tests_member"])
            return [False] * len(is_added)
        return is_added

    monkeypatch.setattr(Store, "add_each", unlucky)
    assert 0 == cached()
    monkeypatch.undo()
    Member.objects.create(name="new")

    assert 1 == cached()
