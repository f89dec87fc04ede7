"""A computation is stopped in the middle, between its value and its storing, and let go again."""

from collections.abc import Iterator
from threading import Event as Signal
from typing import ClassVar

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from cachedeco import MISSING, Event, cached_query, cached_query_many, listening, mode
from cachedeco.testing import cache_mode, paused
from tests.models import Club
from tests.support.frames import files_in
from tests.support.threads import PATIENCE_SECONDS

names = {}


@cached_query
def name_of(pk: int) -> str:
    """Return a name."""
    return names[pk]


@cached_query
async def async_name_of(pk: int) -> str:
    """Return a name."""
    return names[pk]


@cached_query
def club_name(pk: int) -> str:
    """Return the name of a club."""
    return Club.objects.get(pk=pk).name


@cached_query
async def async_club_name(pk: int) -> str:
    """Return the name of a club."""
    return (await Club.objects.aget(pk=pk)).name


@cached_query
def factorial(number: int) -> int:
    """Call itself with every smaller number."""
    return number * factorial(number - 1) if number else 1


@pytest.fixture(autouse=True)
def _names() -> Iterator[None]:
    names.update({1: "old", 2: "other"})
    yield
    names.clear()


# --- the race ---


def test_value_computed_before_an_invalidation_is_returned_and_never_served(backend: str) -> None:  # noqa: ARG001 -- the caches are of its kind
    """A caller that began before the invalidation gets the old value, and none after it does."""
    with paused(name_of) as computation:
        computation.start(1)
        names[1] = "new"
        name_of.invalidate(1)

        assert "old" == computation.finish()

    assert (MISSING, "new") == (name_of.peek(1), name_of(1))


def test_value_without_an_invalidation_is_stored_when_it_is_let_go() -> None:
    """The stop is between the value and its storing: nothing is there until the call goes on."""
    with paused(name_of) as computation:
        computation.start(1)
        between = name_of.peek(1)
        computation.finish()

    assert (MISSING, "old") == (between, name_of.peek(1))


def test_async_function_is_stopped_from_sync_code() -> None:
    """An async function runs in a loop of its own, and stops at the same place."""
    with paused(async_name_of) as computation:
        computation.start(1)
        names[1] = "new"
        async_name_of.invalidate(1)

        assert "old" == computation.finish()

    assert MISSING is async_name_of.peek(1)


@pytest.mark.parametrize("function", [name_of, async_name_of], ids=["sync", "async"])
def test_functions_are_stopped_from_async_code(function: object) -> None:
    """The twins do the same in a task, whose loop goes on meanwhile."""

    async def race() -> str:
        async with paused(function) as computation:  # type: ignore[arg-type] # one of the two
            await computation.astart(1)
            names[1] = "new"
            await function.ainvalidate(1)  # type: ignore[attr-defined] # as above
            value: str = await computation.afinish()
        return value

    assert "old" == async_to_sync(race)()
    assert MISSING is function.peek(1)  # type: ignore[attr-defined] # as above


def test_other_calls_are_not_stopped() -> None:
    """Calls of the test itself, of the same arguments or others, run to their end."""
    with paused(name_of) as computation:
        computation.start(1)

        assert ("old", "other") == (name_of(1), name_of(2))


def test_function_that_calls_itself_stops_at_the_call_that_was_asked_for() -> None:
    """What the call computes on its way is stored already when it stops."""
    with paused(factorial) as computation:
        computation.start(3)

        assert (2, MISSING) == (factorial.peek(2), factorial.peek(3))
        assert 6 == computation.finish()


def test_two_computations_stand_at_once() -> None:
    """A block each stops two computations of one call, which can be let go in any order."""
    with paused(name_of) as first, paused(name_of) as second:
        first.start(1)
        names[1] = "new"
        name_of.invalidate(1)
        second.start(1)

        assert ("new", "old") == (second.finish(), first.finish())

    assert "new" == name_of(1)


def test_block_can_stop_one_call_after_another() -> None:
    """After finish() a block can start again."""
    with paused(name_of) as computation:
        computation.start(1)
        computation.finish()
        computation.start(2)

        assert "other" == computation.finish()


def test_mode_of_the_test_is_that_of_the_call() -> None:
    """The call has the test's context, so a mode that is in force for the test alone counts there."""
    with cache_mode("off"), mode("on"), paused(name_of) as computation:
        computation.start(1)

        assert "old" == computation.finish()


# --- what can't be stopped ---


def test_call_that_is_a_hit_fails_with_what_happened() -> None:
    """A hit has no middle."""
    name_of(1)

    with paused(name_of) as computation, pytest.raises(AssertionError, match=r"^name_of\(1\) could not be .*: hit\."):
        computation.start(1)


def test_failure_shows_the_lines_of_the_test_alone() -> None:
    """Under pytest no frame of the kit's stands around the message."""
    name_of(1)

    with paused(name_of) as computation, pytest.raises(AssertionError) as failure:
        computation.start(1)

    assert [__file__] == files_in(failure)


@pytest.mark.parametrize("name", ["bypass", "off"])
def test_call_past_the_cache_fails_with_what_happened(name: str) -> None:
    """Where nothing is stored there is nothing to race with, and it could be mistaken for a race that was won."""
    with mode(name), paused(name_of) as computation, pytest.raises(AssertionError, match="bypassed, computed"):  # type: ignore[arg-type] # one of the modes
        computation.start(1)


def test_call_that_raises_fails_with_what_it_raised() -> None:
    """An exception of the function is told, and is the cause."""
    with paused(name_of) as computation, pytest.raises(AssertionError, match=r"raised KeyError: 3") as failure:
        computation.start(3)

    assert isinstance(failure.value.__cause__, KeyError)


def test_call_that_does_not_come_to_its_end_fails_in_time() -> None:
    """A computation that hangs fails the test, at the start and at the finish."""
    go = Signal()

    @cached_query(ignore=("go",))
    def stuck() -> bool:
        return go.wait(PATIENCE_SECONDS)

    with paused(stuck, timeout=0.01) as computation:
        with pytest.raises(AssertionError, match=r"^stuck\(\) has not computed its value within 0\.01 seconds"):
            computation.start()
        with pytest.raises(AssertionError, match=r"^stuck\(\) has not ended within 0\.01 seconds") as failure:
            computation.finish()
        go.set()

    assert [__file__] == files_in(failure)


def test_start_twice_and_finish_without_start_are_refused() -> None:
    """A block has one call at a time."""
    with paused(name_of) as computation:
        with pytest.raises(RuntimeError, match="No call is under way"):
            computation.finish()
        computation.start(1)
        with pytest.raises(RuntimeError, match=r"^name_of\(1\) is under way already"):
            computation.start(2)


def of_each(ids: list[int]) -> dict[int, int]:
    """Be decorated."""
    raise NotImplementedError


def test_function_over_many_ids_is_refused() -> None:
    """It has a key for each id: which to stop is not known."""
    with pytest.raises(TypeError, match=r"^paused\(\) takes a function of one value, and \S+ takes many ids"):
        paused(cached_query_many(over="ids", name="tests.races.many")(of_each))


def test_plain_function_is_refused() -> None:
    """Only a cached function has a middle."""
    with pytest.raises(TypeError, match="is no cached function"):
        paused(name_of.uncached)  # type: ignore[arg-type] # what a user might write


# --- leaving ---


def test_block_that_ends_early_lets_the_call_go() -> None:
    """A call that was not finished is stored when its block has ended, and its thread is gone."""
    with paused(name_of) as computation:
        computation.start(1)

    assert "old" == name_of.peek(1)


def test_block_that_raises_lets_the_call_go_and_raises_its_own_error() -> None:
    """A failing assertion inside the block is what the test fails with."""

    def leave_early() -> None:
        with paused(name_of) as computation:
            computation.start(1)
            raise LookupError

    with pytest.raises(LookupError):
        leave_early()

    assert "old" == name_of.peek(1)


def test_block_that_ends_early_raises_what_its_call_raised() -> None:
    """What goes wrong after the stop is not lost, though no line asked for the value."""

    def fail(event: Event) -> None:
        if event.kind == "stored":
            raise SystemExit

    @cached_query
    def value() -> int:
        return 1

    with pytest.raises(SystemExit), listening(fail), paused(value) as computation:
        computation.start()


# --- databases ---


class InsideTestCaseTests(TestCase):
    """The call works on the test's own connections, in whose transaction the test's rows are."""

    pk: ClassVar[int]

    @classmethod
    def setUpTestData(cls) -> None:
        """Make a club that no other connection sees."""
        cls.pk = Club.objects.create(name="old").pk

    def _change(self) -> None:
        with transaction.atomic():
            Club.objects.filter(pk=self.pk).update(name="new")
            club_name.invalidate(self.pk)
            async_club_name.invalidate(self.pk)

    def test_race(self) -> None:
        """A sync function reads the test's rows, and loses the race."""
        with paused(club_name) as computation:
            computation.start(self.pk)
            self._change()

            assert "old" == computation.finish()

        assert "new" == club_name(self.pk)

    def test_race_of_async_function(self) -> None:
        """So does an async one, whose queries run in the call's thread."""
        with paused(async_club_name) as computation:
            computation.start(self.pk)
            self._change()

            assert "old" == computation.finish()

        assert "new" == async_to_sync(async_club_name)(self.pk)

    async def test_race_in_async_test(self) -> None:
        """So does an async test, whose connections belong to another thread than its loop."""
        async with paused(async_club_name) as computation:
            await computation.astart(self.pk)
            await Club.objects.filter(pk=self.pk).aupdate(name="new")
            await async_club_name.ainvalidate(self.pk)

            assert "old" == await computation.afinish()

        assert "new" == await async_club_name(self.pk)


class InsideTransactionTestCaseTests(TransactionTestCase):
    """Where the test has no transaction, its commits are real."""

    def test_race(self) -> None:
        """The value that was computed before the commit is never served after it."""
        pk = Club.objects.create(name="old").pk
        with paused(club_name) as computation:
            computation.start(pk)
            with transaction.atomic():
                Club.objects.filter(pk=pk).update(name="new")
                club_name.invalidate(pk)

            assert "old" == computation.finish()

        assert "new" == club_name(pk)
