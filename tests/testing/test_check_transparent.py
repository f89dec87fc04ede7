"""check_transparent finds the shortest history in which a cached function shows, and passes what is right."""

from collections.abc import Callable
from functools import partial

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import transaction
from django.db.models import QuerySet
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from django.utils import timezone
from hypothesis import strategies as st

from cachedeco import cached_query
from cachedeco.testing import check_transparent
from tests.models import Club, ClubClass
from tests.support.sides import Side, both
from tests.testing.checks import fresh_source, increase, numbers, quickly, source  # noqa: F401 -- a fixture


@both
def test_forgotten_invalidation_is_found_in_three_steps(side: Side) -> None:
    """A write that does not invalidate shows in the shortest history: call, write, call."""

    @side.cached()
    def value(number: int) -> int:
        return source["value"] + number

    with pytest.raises(AssertionError) as failure:
        check_transparent(value, st.integers(), mutate=st.just(increase), settings=quickly)

    first, one, two, three, *_ = str(failure.value).splitlines()
    assert f"{__name__}.{value.__qualname__} differs from the plain function:" == first
    assert ["1. value(0) gives", "2. increase()", "3. value(0) gives"] == [one[:17], two, three[:17]]
    assert ", and the plain function gives " in three


@both
def test_write_that_invalidates_passes(side: Side) -> None:
    """No history of calls and writes tells the cached function from the plain one."""

    @side.cached()
    def value(number: int) -> int:
        return source["value"] + number

    def write(number: int) -> None:
        source["value"] += number
        value.invalidate_all()

    check_transparent(value, numbers, mutate=st.builds(partial, st.just(write), numbers), settings=quickly)


@both
def test_advice_is_logged_once_for_all_histories(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    """A function begins anew in each history; what else it says at DEBUG stays, and so does what it says afterwards."""
    caplog.set_level("DEBUG", logger="cachedeco")

    @side.cached(depends_on=["auto"])
    def value(number: int) -> int:
        return number

    check_transparent(value, numbers, mutate=value.invalidate_all, settings=quickly)
    side.call(value, 1)

    advice = [record for record in caplog.records if record.__dict__["cache_event"] == "advice"]
    assert 2 == len(advice)
    assert "read no table" in advice[0].getMessage()
    assert 2 < len([record for record in caplog.records if record.__dict__["cache_event"] == "miss"])


def test_async_write_is_awaited() -> None:
    """A write may be async."""

    @cached_query
    async def value() -> int:
        return source["value"]

    async def write(number: int) -> None:
        source["value"] += number

    with pytest.raises(AssertionError, match=r"2\. write\(number=1\)\n"):
        check_transparent(value, st.just(()), mutate=st.just(partial(write, number=1)))


def test_invalidation_of_the_wrong_call_is_found() -> None:
    """A write that invalidates another call than the one it changes is forgotten for that one."""

    @cached_query
    def value(number: int) -> int:
        return source["value"] + number

    def write() -> None:
        source["value"] += 1
        value.invalidate(1)

    with pytest.raises(AssertionError, match=r"value\(0\) gives"):
        check_transparent(value, numbers, mutate=st.just(write), settings=quickly)


def test_stale_function_inside_is_found() -> None:
    """The plain function is plain all the way down: an old value of a function within is a difference."""

    @cached_query
    def inner() -> int:
        return source["value"]

    @cached_query(ignore=("inner",))
    def outer() -> int:
        return inner()

    def write() -> None:
        source["value"] += 1
        outer.invalidate()

    with pytest.raises(AssertionError, match="outer differs from the plain function"):
        check_transparent(outer, st.just(()), mutate=st.just(write), settings=quickly)


def test_check_in_which_nothing_is_served_fails() -> None:
    """A check that never met the cache has shown nothing, and says why."""

    @cached_query
    def unpicklable() -> Callable[[], None]:
        return lambda: None

    with pytest.raises(AssertionError, match="nothing was learned: error: The value can't be stored"):
        check_transparent(unpicklable, st.just(()), mutate=st.just(increase), settings=quickly)


def test_check_in_which_every_call_misses_fails(dummy_backend: None) -> None:  # noqa: ARG001
    """A cache that keeps nothing is no cache to check with."""

    @cached_query
    def value() -> int:
        return 1

    with pytest.raises(AssertionError, match="nothing was learned"):
        check_transparent(value, st.just(()), mutate=st.just(increase), settings=quickly)


def test_check_leaves_the_cache_as_it_was() -> None:
    """What the test had cached is there again, and nothing of the histories is."""

    @cached_query
    def value(number: int) -> int:
        return number

    value.call(1).set(-1)
    cache.set("mine", 1)
    check_transparent(value, numbers, mutate=st.just(value.invalidate_all), settings=quickly)

    assert (-1, 1) == (value.peek(1), cache.get("mine"))
    assert 2 == value(2)


# --- rows ---


@cached_query
def classes_of(pk: int) -> QuerySet[ClubClass]:
    """Return the classes of a club."""
    return ClubClass.objects.filter(club_id=pk).order_by("pk")


class _RowsTests:
    """Histories that write rows: the same in a TestCase and in a TransactionTestCase."""

    club: Club

    def _make(self) -> None:
        self.club = Club.objects.create(name="North")
        ClubClass.objects.create(club=self.club, name="Judo", start_time=timezone.now())

    def _rename(self) -> None:
        ClubClass.objects.filter(club=self.club).update(name="Karate")

    def test_field_of_a_row_that_has_changed_is_found(self) -> None:
        """Rows of one primary key and other fields are not the same rows."""
        with pytest.raises(AssertionError, match=r"They differ in \[0\]\.name: 'Judo' and 'Karate'\.$"):
            check_transparent(classes_of, st.just(self.club.pk), mutate=st.just(self._rename))

        assert ["Judo"] == [each.name for each in ClubClass.objects.all()]

    def test_invalidation_inside_a_transaction_passes(self) -> None:
        """A transaction in a write ends as it would in production."""

        def write() -> None:
            with transaction.atomic(durable=True):
                self._rename()
                classes_of.invalidate(self.club.pk)

        check_transparent(classes_of, st.just(self.club.pk), mutate=st.just(write), settings=quickly)

    def test_invalidation_at_commit_passes(self) -> None:
        """What waits for a commit is called after the write."""

        def write() -> None:
            self._rename()
            transaction.on_commit(lambda: classes_of.invalidate(self.club.pk))

        check_transparent(classes_of, st.just(self.club.pk), mutate=st.just(write), settings=quickly)

    def test_histories_do_not_see_each_other(self) -> None:
        """Each history begins with the rows that the test has made."""
        seen = set()

        def write() -> None:
            seen.add(ClubClass.objects.count())
            ClubClass.objects.all().delete()
            classes_of.invalidate(self.club.pk)

        check_transparent(classes_of, st.just(self.club.pk), mutate=st.just(write), settings=quickly)

        assert {0, 1} == seen


class RowsInTestCaseTests(_RowsTests, TestCase):
    """On top of the test's own transaction."""

    def setUp(self) -> None:
        """Make the rows."""
        self._make()


class RowsInTransactionTestCaseTests(_RowsTests, TransactionTestCase):
    """In a transaction of the history's own."""

    def setUp(self) -> None:
        """Make the rows."""
        self._make()


class WithoutDatabaseTests(SimpleTestCase):
    """A test that may use no database can check a function that uses none."""

    def test_function_without_database(self) -> None:
        """No database is touched for it."""

        @cached_query
        def value(number: int) -> int:
            return number

        check_transparent(value, numbers, mutate=st.just(increase), settings=quickly)


def test_check_in_a_task_names_the_remedy() -> None:
    """An async function can't be awaited where a loop runs already."""

    @cached_query(key="same", ignore=("number",))
    async def number_of(number: int) -> int:
        return number

    async def check() -> None:
        check_transparent(number_of, numbers, mutate=st.just(increase))

    with pytest.raises(TypeError, match="sync_to_async"):
        async_to_sync(check)()
