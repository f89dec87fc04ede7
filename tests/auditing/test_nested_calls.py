"""Cached calls inside a function that is audited: what they may change, and which call that accuses."""

from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import MISSING, cached_query_many, mode
from cachedeco.auditing.auditor import INVALIDATED, UNCERTAIN
from tests.auditing.conftest import TIMEOUT, Background, Cached, Told
from tests.loading.refreshing.conftest import Truth
from tests.support.sides import SYNC, Side, both
from tests.support.stored import bare

Inside = Callable[[Truth], Callable[[], object]]


def outer_of(side: Side, inside: Callable[[], object], **options: Any) -> Cached:
    """Return a function that gives what is inside, with a hit that will be audited."""

    @side.cached(timeout=TIMEOUT, ignore=("inside",), **options)
    def outer() -> object:
        return inside()

    side.call(outer)
    return outer


@both
def test_change_of_what_is_inside_is_found(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """
    Calls inside are computed from the source, too: what no invalidation has reached there is old outside.

    They store nothing: the audit of one function leaves no trace in the entries of another.
    """
    inner = truth.cached(SYNC, timeout=TIMEOUT)
    outer = outer_of(side, lambda: inner(1))
    truth.value = "new"
    side.call(outer)

    later.look()
    later.look()

    [event] = told
    assert ("inconsistent", outer.key_for(), "old") == (event.kind, event.key, inner.peek(1))
    assert bare(inner.key_for(1)).removeprefix("cd:e:")[:20] in event.reason


@both
def test_invalidation_of_what_is_inside_explains_it(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """The stamp has the tokens of the calls inside."""
    inner = truth.cached(SYNC, timeout=TIMEOUT)
    outer = outer_of(side, lambda: inner(1))
    truth.value = "new"
    side.call(outer)
    later.look()
    inner.invalidate(1)

    later.look()

    assert [("audited", INVALIDATED)] == told.reasons


def _may_change_by_itself(truth: Truth) -> Callable[[], object]:
    inner = truth.cached(SYNC, timeout=TIMEOUT, audit=False)
    return lambda: inner(1)


def _does_not_depend_on_what_is_inside(truth: Truth) -> Callable[[], object]:
    inner = truth.cached(SYNC, timeout=TIMEOUT, nested=False)
    return lambda: inner(1)


def _only_looks(truth: Truth) -> Callable[[], object]:
    inner = truth.cached(SYNC, timeout=TIMEOUT)
    inner(1)
    return lambda: str(inner.peek(1))


def _goes_to_the_cache(truth: Truth) -> Callable[[], object]:
    inner = truth.cached(SYNC, timeout=TIMEOUT, audit=False)

    @mode("on")
    def inside() -> object:
        inner(1)
        return truth.read()

    return inside


def _is_of_many(truth: Truth) -> Callable[[], object]:
    @cached_query_many(over="ids", timeout=TIMEOUT, audit=False, ignore=("truth",))
    def inner(ids: list[int]) -> dict[int, object]:
        return {each: truth.read() for each in ids}

    return lambda: inner([1, 2])


def _only_looks_at_many(truth: Truth) -> Callable[[], object]:
    @cached_query_many(over="ids", timeout=TIMEOUT, ignore=("truth",))
    def inner(ids: list[int]) -> dict[int, object]:
        return {each: truth.read() for each in ids}

    inner([1, 2])
    return lambda: inner.peek([1, 2])


@both
@pytest.mark.parametrize(
    "inside",
    [
        _may_change_by_itself,
        _does_not_depend_on_what_is_inside,
        _only_looks,
        _goes_to_the_cache,
        _is_of_many,
        _only_looks_at_many,
    ],
)
def test_value_that_nothing_proves_accuses_no_call(
    side: Side, later: Background, truth: Truth, told: Told, inside: Inside
) -> None:
    """Where a call inside may give another value though nothing was invalidated, a difference proves nothing."""
    outer = outer_of(side, inside(truth))
    truth.value = "new"
    side.call(outer)

    later.look()

    assert [("audited", UNCERTAIN)] == told.reasons
    assert [] == later.jobs


@both
def test_value_that_nothing_proves_is_audited_where_it_is_the_same(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """What does not differ needs no explanation."""
    outer = outer_of(side, _may_change_by_itself(truth))
    side.call(outer)

    later.look()

    assert [("audited", "")] == told.reasons


@both
@pytest.mark.parametrize(("has_call", "kinds"), [(True, ["audited"]), (False, ["inconsistent"])])
def test_function_that_ignores_what_is_inside_is_audited_where_nothing_is(  # noqa: PLR0913 -- a pair
    side: Side, later: Background, truth: Truth, told: Told, *, has_call: bool, kinds: list[str]
) -> None:
    """With nested=False a call inside may be newer than the entry; where there is none, all else is as ever."""
    inner = Truth().cached(SYNC, timeout=TIMEOUT)

    def inside() -> object:
        return (inner(1) if has_call else MISSING, truth.read())

    outer = outer_of(side, inside, nested=False)
    truth.value = "new"
    side.call(outer)

    later.look()
    later.look()

    assert kinds == told.kinds


@both
def test_call_inside_that_is_bypassed_anyway_is_no_doubt_outside_an_audit(side: Side, truth: Truth) -> None:
    """A function that opts out works past the cache as any other, with and without a computation around it."""
    inner = truth.cached(SYNC, timeout=TIMEOUT, audit=False)

    @side.cached(timeout=TIMEOUT, ignore=("inner",))
    def outer() -> object:
        with mode("bypass"):
            return inner(1), inner.peek(1)

    with mode("bypass"):
        alone = inner(1)

    assert ("old", ("old", MISSING)) == (alone, side.call(outer))
