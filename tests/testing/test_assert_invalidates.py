"""assert_invalidates and assert_keeps tell whether the entry of one call has come to its end in a block."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import TestCase

from cachedeco import CachedQuery, Namespace, cached_query, cached_query_many, mode
from cachedeco.runtime import hooks
from cachedeco.storage.connections import connection
from cachedeco.testing import (
    CacheAssertions,
    assert_computations,
    assert_invalidates,
    assert_keeps,
)
from tests.models import Club
from tests.support.sides import Side, both
from tests.support.stored import whole


@cached_query(namespace="half:{number}")
def half(number: int) -> float:
    """Return half of a number."""
    return number / 2


@cached_query
async def async_half(number: int) -> float:
    """Return half of a number."""
    return number / 2


@cached_query_many(over="numbers", namespace="half:{each}")
def halves(numbers: list[int]) -> dict[int, float]:
    """Return half of each number, and nothing of 0."""
    return {each: each / 2 for each in numbers if each}


@cached_query_many(over="numbers", namespace="half:{each}")
async def async_halves(numbers: list[int]) -> dict[int, float]:
    """Return half of each number, and nothing of 0."""
    return {each: each / 2 for each in numbers if each}


@cached_query
def unpicklable() -> object:
    """Return what can't be stored."""
    return lambda: None


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Find no hook left behind by any block."""
    before = hooks._hooks
    yield
    assert before == hooks._hooks


def _own(side: Side, function: CachedQuery[..., Any]) -> None:
    side.call(function.invalidate, 1)


def _all(side: Side, function: CachedQuery[..., Any]) -> None:
    side.call(function.invalidate_all)


def _namespace(side: Side, _function: object) -> None:
    side.call(Namespace("number", 1).invalidate)


def _parent(side: Side, _function: object) -> None:
    side.call(Namespace("number").invalidate)


def _refresh(side: Side, function: CachedQuery[..., Any]) -> None:
    side.call(function.refresh, 1)


def _delete(_side: Side, function: CachedQuery[..., Any]) -> None:
    connection("default").cache.delete(function.key_for(1))


def _and_compute(side: Side, function: CachedQuery[..., Any]) -> None:
    side.call(function.invalidate, 1)
    side.call(function, 1)


def _other_call(side: Side, function: CachedQuery[..., Any]) -> None:
    side.call(function.invalidate, 2)


def _other_namespace(side: Side, _function: object) -> None:
    side.call(Namespace("number", 2).invalidate)


def _nothing(side: Side, function: CachedQuery[..., Any]) -> None:
    side.call(function, 1)


ENDS = [_own, _all, _namespace, _parent, _refresh, _delete, _and_compute]
KEEPS = [_other_call, _other_namespace, _nothing]
Act = Callable[[Side, CachedQuery[..., Any]], None]


def _number(side: Side) -> CachedQuery[..., Any]:
    @side.cached(namespace="number:{number}")
    def number_of(number: int) -> int:
        return number

    return number_of


@pytest.mark.covering(2)
@both
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("act", ENDS)
def test_entry_that_comes_to_its_end_is_found(side: Side, act: Act, *, stored: bool) -> None:
    """However the entry ends, assert_invalidates() passes and assert_keeps() fails, stored before or not."""
    number_of = _number(side)
    if stored:
        side.call(number_of, 1)

    with assert_invalidates(number_of, 1):
        act(side, number_of)
    with pytest.raises(AssertionError, match=r"^The entry of number_of\(1\) is not served any more\."):  # noqa: SIM117 -- the message is of the whole block
        with assert_keeps(number_of, 1):
            act(side, number_of)


@both
@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (_own, r"\S*number_of\(1\) would be a miss: it was invalidated .* ago: this call"),
        (_parent, r"\S*number_of\(1\) would be a miss: it was invalidated .* ago: namespace number"),
        (_delete, r"\S*number_of\(1\) would be a miss: nothing lies under its key: .*"),
        (_refresh, "Another one has taken its place"),
        (_and_compute, "Another one has taken its place"),
    ],
)
def test_failure_says_why_the_entry_ends(side: Side, act: Act, reason: str) -> None:
    """Of several invalidations in the block, the reason names the one that ends the entry."""
    number_of = _number(side)

    def end() -> None:
        with assert_keeps(number_of, 1):
            _other_namespace(side, number_of)
            act(side, number_of)

    with pytest.raises(AssertionError, match=rf"any more\. {reason}\. Invalidated in the block:"):
        end()


@pytest.mark.covering(2)
@both
@pytest.mark.parametrize("act", [_own, _other_call])
def test_every_backend_tells(side: Side, act: Act, backend: str) -> None:  # noqa: ARG001 -- the caches are of its kind
    """What is stored, and where, makes no difference."""
    number_of = _number(side)
    block = assert_invalidates if act is _own else assert_keeps

    with block(number_of, 1) as heard:
        act(side, number_of)

    assert ["invalidated"] == [event.kind for event in heard]


@both
@pytest.mark.parametrize("act", KEEPS)
def test_entry_that_stays_is_found(side: Side, act: Act) -> None:
    """While the entry is served, assert_keeps() passes and assert_invalidates() fails."""
    number_of = _number(side)

    with assert_keeps(number_of, number=1):
        act(side, number_of)
    with pytest.raises(AssertionError, match=r"^The entry of number_of\(number=1\) is still served\."):  # noqa: SIM117 -- as above
        with assert_invalidates(number_of, number=1):
            act(side, number_of)


@both
def test_blocks_in_async_code_do_the_same(side: Side) -> None:
    """`async with` serves both kinds of functions in a task."""
    number_of = _number(side)

    async def check() -> None:
        async with assert_invalidates(number_of, 1) as heard:
            await number_of.ainvalidate(1)
        async with assert_keeps(number_of, 1):
            await number_of.ainvalidate(2)
        assert ["invalidated"] == [event.kind for event in heard]
        async with assert_invalidates(number_of, 1):
            """Do nothing."""

    with pytest.raises(AssertionError, match="is still served"):
        async_to_sync(check)()


def test_sync_block_around_an_async_function_in_a_task_names_the_remedy() -> None:
    """What a task's thread can't do is refused with the way that can."""

    async def check() -> None:
        with assert_invalidates(async_half, 1):
            """Never comes here."""

    with pytest.raises(TypeError, match="use `async with`"):
        async_to_sync(check)()


def test_failure_lists_what_was_invalidated_instead() -> None:
    """The error names what was invalidated instead."""

    def invalidate() -> None:
        with assert_invalidates(half, 1):
            half(2)
            half.invalidate(2)
            Namespace("halves").invalidate()

    with pytest.raises(AssertionError) as failure:
        invalidate()

    assert [
        "The entry of half(1) is still served. Invalidated in the block:",
        f"1. invalidated {whole('cd:t:tests.testing.test_assert_invalidates.half(number=2)')}",
        f"2. invalidated {whole('cd:n:halves')}",
    ] == str(failure.value).splitlines()


@pytest.mark.parametrize("function", [halves, async_halves], ids=["sync", "async"])
def test_entries_of_many_ids_are_judged_one_by_one(function: Any) -> None:
    """All must end, or stay, also those of ids that are stored as absent; a failure names the id."""
    with assert_invalidates(function, [0, 1]), assert_keeps(function, [2]):
        function.invalidate([0])
        Namespace("half", 1).invalidate()

    is_kept, has_ended = r"of .*halves\(\[1, 2\]\) for 2 is still", r"for 0 is not served any more\. .* was invalidated"
    with pytest.raises(AssertionError, match=is_kept), assert_invalidates(function, [1, 2]):
        function.invalidate([1])
    with pytest.raises(AssertionError, match=has_ended), assert_keeps(function, [0, 1]):
        function.invalidate([0])
    with pytest.raises(AssertionError, match="Nothing could be stored"), assert_keeps(function, []):
        """Never comes here."""


def test_failure_without_invalidation_says_so() -> None:
    """The error says that nothing was invalidated."""
    with pytest.raises(AssertionError, match=r"Nothing was invalidated in the block\.$"), assert_invalidates(half, 1):
        half(1)


def test_block_that_raises_is_not_judged() -> None:
    """The test's own failure comes first."""
    with pytest.raises(LookupError), assert_invalidates(half, 1):
        raise LookupError


def test_value_that_cannot_be_stored_is_an_error_that_says_why() -> None:
    """Where no entry can be had, neither assertion means anything."""
    for block in (assert_invalidates, assert_keeps):
        with pytest.raises(AssertionError, match=r"(?s)^Nothing could be stored for unpicklable\(\).*can't be stored"):  # noqa: SIM117 -- as above
            with block(unpicklable):
                """Never comes here."""


def test_value_that_the_mode_does_not_store_is_an_error_that_says_why() -> None:
    """A suite that runs without the cache is told so."""
    with mode("off"), pytest.raises(AssertionError, match="The mode is 'off' here"), assert_invalidates(half, 1):
        """Never comes here."""


def test_entry_past_its_timeout_is_computed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is due already is no entry to watch."""

    @cached_query(timeout=5)
    def number() -> int:
        return 1

    number()
    monkeypatch.setattr("cachedeco.functions.calls.time", lambda: 4e9)  # in the year 2096
    monkeypatch.setattr("cachedeco.functions.single_serving.time", lambda: 4e9)

    with pytest.raises(AssertionError, match="is still served"), assert_computations(number, 1):  # noqa: SIM117 -- as above
        with assert_invalidates(number):
            """Do nothing."""


# --- inside TestCase ---


def _invalidate_and_fail() -> None:
    half.invalidate(1)
    raise LookupError


class InsideTestCaseTests(CacheAssertions, TestCase):
    """The mixin's methods, inside the transactions of a TestCase."""

    def test_invalidation_in_a_transaction_that_ends_in_the_block(self) -> None:
        """A commit inside the block delivers, as in production."""
        with self.assertInvalidates(half, 1), transaction.atomic():
            half.invalidate(1)

    def test_invalidation_in_a_transaction_that_is_rolled_back(self) -> None:
        """After a rollback the entry is still there."""
        with self.assertKeeps(half, 1), pytest.raises(LookupError), transaction.atomic():
            _invalidate_and_fail()

    def test_invalidation_in_a_transaction_around_the_block(self) -> None:
        """In a transaction that is still open the invalidation counts for this connection."""
        half(1)
        with transaction.atomic(), self.assertInvalidates(half, 1):
            half.invalidate(1)

    def test_ids_that_a_transaction_around_the_block_invalidates(self) -> None:
        """Of many ids those count that it has invalidated, and no others."""
        halves([1, 2])
        with transaction.atomic(), self.assertInvalidates(halves, [1]), self.assertKeeps(halves, [2]):
            halves.invalidate([1])

    def test_block_in_a_transaction_whose_values_are_not_stored(self) -> None:
        """What the transaction's snapshot forbids to store can't be watched, and the error says so."""
        with transaction.atomic(), pytest.raises(AssertionError, match="snapshot may be older"):  # noqa: SIM117 -- as above
            with self.assertInvalidates(half, 1):
                """Never comes here."""

    async def test_async_test_with_rows(self) -> None:
        """An async test's connections belong to another thread, and the blocks work there."""
        club = await Club.objects.acreate(name="North")

        @cached_query
        async def name_of(pk: int) -> str:
            return (await Club.objects.aget(pk=pk)).name

        async with self.assertInvalidates(name_of, club.pk):
            await name_of.ainvalidate(club.pk)
