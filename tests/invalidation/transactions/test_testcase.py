"""Inside Django's TestCase, whose own transactions never commit, calls see what they see in production."""

from contextlib import suppress
from typing import ClassVar
from unittest.mock import patch

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from cachedeco import MISSING, Namespace
from cachedeco.invalidation import commits
from tests.models import Club
from tests.support.backends import recorded
from tests.support.clubs import Undone, assert_nothing_waits, name_of, names, other_name_of, rename
from tests.support.stored import stored


def _fail() -> None:
    raise Undone


class ClubTestCase(TestCase):
    """A TestCase with a club of the name "old" in each database, whose functions were called."""

    databases: ClassVar[set[str]] = {"default", "other"}
    pk: ClassVar[int]

    @classmethod
    def setUpTestData(cls) -> None:
        """Make the clubs, for all tests of the class."""
        cls.pk = Club.objects.create(name="old").pk
        Club.objects.using("other").create(pk=cls.pk, name="old")

    def setUp(self) -> None:
        """Call the functions."""
        assert ("old", ["old"], "old") == (name_of(self.pk), names(), other_name_of(self.pk))


class OutsideOfBlocksTests(ClubTestCase):
    """A test that opens no transaction of its own is in autocommit mode, as far as the code under test can tell."""

    def test_value_is_stored(self) -> None:
        """What a test computes is stored, as production would."""
        assert ("old", "old") == (name_of.peek(self.pk), other_name_of.peek(self.pk))

    def test_invalidation_goes_out_at_once(self) -> None:
        """An invalidation outside of the test's own blocks has nothing to wait for."""
        rename(self.pk, "new")
        recorded.clear()
        name_of.invalidate(self.pk)

        assert ["set_many"] == recorded.names
        assert "new" == name_of(self.pk)
        assert "new" == name_of.peek(self.pk)

    def test_invalidation_on_another_database_goes_out_at_once(self) -> None:
        """That holds on every database of the test case."""
        rename(self.pk, "new", using="other")
        Namespace("elsewhere", self.pk).invalidate(using="other")

        assert "new" == other_name_of(self.pk)
        assert "new" == other_name_of.peek(self.pk)

    def test_nothing_counts_as_a_commit_hook(self) -> None:
        """Outside of the test's own blocks nothing of ours is among the hooks that a test counts."""
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            name_of.invalidate(self.pk)
            name_of(self.pk)

        assert [] == callbacks

    async def test_async_test_is_no_different(self) -> None:
        """An async test sees the same."""
        await sync_to_async(rename)(self.pk, "new")
        await name_of.ainvalidate(self.pk)

        assert "new" == await sync_to_async(name_of)(self.pk)
        assert "new" == await name_of.apeek(self.pk)


class BlocksTests(ClubTestCase):
    """A test's own `atomic()` ends as a transaction does in production."""

    def tearDown(self) -> None:
        """Check that nothing waits for ever."""
        name_of.peek(self.pk)
        assert_nothing_waits()

    def test_block_that_ends_invalidates(self) -> None:
        """The invalidation of a block that has ended is out before a call asks, and calls store again."""
        with transaction.atomic():
            rename(self.pk, "new")
            name_of.invalidate(self.pk)
            inside = (name_of(self.pk), name_of.peek(self.pk))

        assert ("new", MISSING) == inside
        assert "new" == name_of(self.pk)
        assert "new" == name_of.peek(self.pk)

    def test_block_rolled_back_invalidates_nothing(self) -> None:
        """After a rollback the entry is served again."""
        with suppress(Undone), transaction.atomic():
            rename(self.pk, "new")
            name_of.invalidate(self.pk)
            assert "new" == name_of(self.pk)
            raise Undone

        assert "old" == name_of.peek(self.pk)

    def test_invalidation_is_not_sent_before_the_block_ends(self) -> None:
        """Within the block nothing is sent, as no other connection may know."""
        recorded.clear()
        with transaction.atomic():
            name_of.invalidate(self.pk)
            names()
            assert "set_many" not in recorded.names

    def test_savepoints_in_a_block_count(self) -> None:
        """A block inside the test's own outermost block is a savepoint, and ends nothing."""
        with transaction.atomic():
            with transaction.atomic():
                rename(self.pk, "new")
                name_of.invalidate(self.pk)
            recorded.clear()
            with suppress(Undone), transaction.atomic():
                names.invalidate()
                assert (MISSING, MISSING) == (name_of.peek(self.pk), names.peek())
                raise Undone
            assert (MISSING, ["old"]) == (name_of.peek(self.pk), names.peek())
            assert "set_many" not in recorded.names

        assert (MISSING, ["old"]) == (name_of.peek(self.pk), names.peek())

    def test_two_blocks_one_after_the_other_are_two_transactions(self) -> None:
        """What the first has kept stays, what the second undoes goes, though no call has asked between them."""
        with transaction.atomic():
            rename(self.pk, "new")
            name_of.invalidate(self.pk)
        with suppress(Undone), transaction.atomic():
            name_of.invalidate(self.pk)
            names.invalidate()
            raise Undone

        assert (MISSING, ["old"]) == (name_of.peek(self.pk), names.peek())

    def test_decorated_function_is_a_transaction_each_time(self) -> None:
        """`@atomic` is one object for all its calls, and each call is a transaction."""

        @transaction.atomic
        def change(name: str) -> None:
            rename(self.pk, name)
            name_of.invalidate(self.pk)

        change("one")
        assert "one" == name_of(self.pk)
        change("two")
        assert "two" == name_of(self.pk)

    def test_durable_block_is_a_transaction(self) -> None:
        """`atomic(durable=True)` works inside TestCase as Django has it."""
        with transaction.atomic(durable=True):
            rename(self.pk, "new")
            name_of.invalidate(self.pk)

        assert "new" == name_of(self.pk)
        assert "new" == name_of.peek(self.pk)

    def test_block_without_savepoint_is_a_transaction(self) -> None:
        """The outermost block is a transaction in production, also with `savepoint=False`: it sends nothing early."""
        with transaction.atomic(savepoint=False):
            rename(self.pk, "new")
            recorded.clear()
            name_of.invalidate(self.pk)
            assert "new" == name_of(self.pk)
            assert MISSING is name_of.peek(self.pk)
            assert [] == recorded

        assert "new" == name_of(self.pk)
        assert "new" == name_of.peek(self.pk)

    def test_blocks_without_savepoint_end_each_for_itself(self) -> None:
        """One block without a savepoint after another is two transactions: the first one's invalidation is out."""
        with transaction.atomic(savepoint=False):
            name_of.invalidate(self.pk)
        with transaction.atomic(savepoint=False):
            recorded.clear()
            name_of.peek(self.pk)

            assert "set_many" in recorded.names

    def test_value_computed_in_a_block_is_not_stored(self) -> None:
        """A test's own block on SQLite is a snapshot, as it would be in production."""
        name_of.invalidate(self.pk)
        with transaction.atomic():
            name_of(self.pk)

        assert MISSING is name_of.peek(self.pk)

    def test_value_computed_in_a_block_at_read_committed_is_stored_at_its_end(self) -> None:
        """At READ COMMITTED, too, a block of the test does what it does in production."""
        name_of.invalidate(self.pk)
        level = patch.object(connections["default"], "isolation_level", "read committed", create=True)
        with level, transaction.atomic():
            name_of(self.pk)
            recorded.clear()
            inside = name_of.peek(self.pk)
            assert ["get_many"] == recorded.names

        recorded.clear()
        assert ("old", "old") == (inside, name_of.peek(self.pk))
        assert ["set_many", "get_many"] == recorded.names

    def test_block_on_another_database_is_a_transaction_of_that(self) -> None:
        """Each database's blocks are counted for themselves."""
        with transaction.atomic():
            rename(self.pk, "new", using="other")
            other_name_of.invalidate(self.pk)
            assert "new" == other_name_of(self.pk)
            # Not stored: the block on this database is a snapshot.
            assert MISSING is other_name_of.peek(self.pk)

        assert "new" == other_name_of(self.pk)
        assert "new" == other_name_of.peek(self.pk)

    async def test_block_in_an_async_test_is_a_transaction(self) -> None:
        """The block of a sync part of an async test ends as any other does."""

        @transaction.atomic
        def change() -> None:
            rename(self.pk, "new")
            name_of.invalidate(self.pk)

        await sync_to_async(change)()

        assert MISSING is await name_of.apeek(self.pk)


class CapturedHooksTests(ClubTestCase):
    """`captureOnCommitCallbacks()` finds, and runs, what it would without us and ours."""

    def _change(self) -> None:
        with transaction.atomic():
            rename(self.pk, "new")
            name_of.invalidate(self.pk)

    def test_executed_hooks_invalidate(self) -> None:
        """With execute=True the invalidation is out when the block ends."""
        with self.captureOnCommitCallbacks(execute=True):
            self._change()

        assert "new" == name_of(self.pk)
        assert "new" == name_of.peek(self.pk)

    def test_hooks_not_executed_invalidate_all_the_same(self) -> None:
        """With execute=False the invalidation goes out with the next question: a test can't forget it."""
        with self.captureOnCommitCallbacks():
            self._change()

        assert "new" == name_of(self.pk)
        assert "new" == name_of.peek(self.pk)

    def test_hooks_called_by_hand_invalidate_once(self) -> None:
        """What a test calls itself, and again, is delivered once."""
        with self.captureOnCommitCallbacks() as callbacks:
            self._change()
        recorded.clear()
        for callback in (*callbacks, *callbacks):
            callback()

        assert ["set_many"] == recorded.names

    def test_nested_captures_each_see_their_own(self) -> None:
        """A capture within a capture changes nothing."""
        with self.captureOnCommitCallbacks(execute=True) as outer:
            with self.captureOnCommitCallbacks(execute=True) as inner:
                self._change()
            assert "new" == name_of(self.pk)
            with transaction.atomic():
                transaction.on_commit(names.invalidate)

        assert (1, 2) == (len(inner), len(outer))
        assert ("new", MISSING) == (name_of.peek(self.pk), names.peek())

    def test_users_hooks_are_found_in_their_order(self) -> None:
        """The hooks that a test registers are captured in order, ours or not around them."""
        seen: list[str] = []
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            transaction.on_commit(lambda: seen.append("first"))
            name_of.invalidate(self.pk)
            transaction.on_commit(lambda: seen.append("second"))

        assert ["first", "second"] == seen

    def test_users_hook_that_calls_gets_the_new_value(self) -> None:
        """A user's hook that is registered before the invalidation, and run by the capture, gets the new value."""
        seen: list[str] = []
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            transaction.on_commit(lambda: seen.append(name_of(self.pk)))
            rename(self.pk, "new")
            name_of.invalidate(self.pk)

        assert ["new"] == seen

    def test_users_hook_that_raises_loses_no_invalidation(self) -> None:
        """A user's hook that raises stops the capture, and not the invalidation."""

        @self.captureOnCommitCallbacks(execute=True)
        @transaction.atomic
        def change() -> None:
            transaction.on_commit(_fail)
            rename(self.pk, "new")
            name_of.invalidate(self.pk)

        with pytest.raises(Undone):
            change()

        assert "new" == name_of(self.pk)

    def test_capture_inside_a_block_runs_what_waits_there(self) -> None:
        """A capture that ends within the block delivers early, as Django's does with every hook, and does no harm."""
        with transaction.atomic():
            with self.captureOnCommitCallbacks(execute=True):
                rename(self.pk, "new")
                name_of.invalidate(self.pk)
            inside = name_of(self.pk)

        assert ("new", "new") == (inside, name_of(self.pk))


class InTransactionTestCase(TransactionTestCase):
    """A TransactionTestCase has real transactions."""

    databases: ClassVar[set[str]] = {"default"}

    def test_block_commits(self) -> None:
        """Its blocks commit, and what waited for that is delivered by Django."""
        names()
        with transaction.atomic():
            Club.objects.create(name="new")
            names.invalidate()

        assert not commits.waiting
        assert [["new"], False] == [names(), connection.in_atomic_block]
        assert stored().get(names.key_for()) is not None
