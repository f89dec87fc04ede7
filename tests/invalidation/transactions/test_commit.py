"""An invalidation waits for the commit of the transaction that it was made in."""

from collections.abc import Callable
from contextlib import suppress
from itertools import product

import pytest
from django.db import IntegrityError, connection, transaction

from cachedeco import MISSING, Namespace
from cachedeco.invalidation.commits import Pending, pending_on
from cachedeco.invalidation.transactions import open_block
from tests.models import Club, ClubClass
from tests.support.backends import Commands
from tests.support.clubs import Undone, name_of, names, rename
from tests.support.threads import in_thread

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]


WAYS: dict[str, Callable[[int], None]] = {
    "invalidate": name_of.invalidate,
    "invalidate_all": lambda _: name_of.invalidate_all(),
    "namespace": lambda pk: Namespace("club", pk).invalidate(),
    "parent namespace": lambda _: Namespace("club").invalidate(),
}
EVERY_WAY = pytest.mark.parametrize("invalidate", WAYS.values(), ids=WAYS)


# --- commit and rollback ---


@EVERY_WAY
def test_invalidation_at_commit_reaches_everybody(pk: int, invalidate: Callable[[int], None]) -> None:
    """Until the commit others are served what stands in the database, and from then on what stands there then."""
    with transaction.atomic():
        rename(pk, "new")
        invalidate(pk)
        before = in_thread(lambda: name_of(pk))
    after = in_thread(lambda: name_of(pk))

    assert ("old", "new", "new") == (before, after, name_of(pk))


@EVERY_WAY
def test_invalidation_rolled_back_never_happened(pk: int, invalidate: Callable[[int], None]) -> None:
    """After a rollback the entry is served as if nothing had been: it is what the database says."""
    with suppress(Undone), transaction.atomic():
        rename(pk, "new")
        invalidate(pk)
        raise Undone

    assert ("old", "old") == (name_of.peek(pk), in_thread(lambda: name_of.peek(pk)))


@EVERY_WAY
def test_call_invalidated_by_the_open_transaction_computes_and_stores_nothing(
    pk: int, invalidate: Callable[[int], None], commands: Commands
) -> None:
    """The transaction sees what it has written itself, and keeps it to itself: nothing is sent to the cache."""
    with transaction.atomic():
        rename(pk, "new")
        invalidate(pk)
        commands.clear()
        seen = [name_of(pk), name_of.refresh(pk), name_of(pk)]
        name_of.call(pk).set("set")
        peeked = name_of.peek(pk)
        sent = list(commands)

    assert (["new"] * 3, MISSING, []) == (seen, peeked, sent)
    assert MISSING is name_of.peek(pk)


def test_call_not_invalidated_by_the_open_transaction_is_served(pk: int, commands: Commands) -> None:
    """A transaction's invalidation of one call leaves the hits of another alone, inside it too."""
    with transaction.atomic():
        names.invalidate()
        commands.clear()
        value = name_of(pk)

    assert ("old", ["get_many", "set_many"]) == (value, commands.names)


def test_rolled_back_row_leaves_no_trace_in_cache(pk: int) -> None:
    """A row that was created, invalidated for, read back and rolled back is in neither the database nor the cache."""
    with suppress(Undone), transaction.atomic():
        Club.objects.create(name="ghost")
        names.invalidate()
        inside = names()
        raise Undone

    assert (["old", "ghost"], ["old"]) == (inside, names())
    assert pk


@pytest.mark.parametrize("durable", [False, True])
def test_invalidation_before_the_write_waits_for_the_commit_too(pk: int, *, durable: bool) -> None:
    """A reader between an early invalidation and its write can't bring the old value back for good."""
    with transaction.atomic(durable=durable):
        name_of.invalidate(pk)
        before = in_thread(lambda: name_of(pk))
        rename(pk, "new")

    assert ("old", "new") == (before, name_of(pk))


def test_invalidations_of_one_transaction_are_one_command(pk: int, commands: Commands) -> None:
    """What a transaction invalidates goes out together, and each token once."""
    with transaction.atomic():
        for _ in range(3):
            name_of.invalidate(pk)
            names.invalidate()
        commands.clear()

    assert ["set_many"] == commands.names
    assert 2 == len(commands[0].keys)


def test_invalidation_outside_of_transactions_goes_out_at_once(pk: int, commands: Commands) -> None:
    """In autocommit mode there is nothing to wait for."""
    commands.clear()
    name_of.invalidate(pk)

    assert ["set_many"] == commands.names


def test_decorated_function_is_a_transaction_each_time(pk: int) -> None:
    """`@atomic` is one object for all calls: what one call has invalidated does not cling to the next."""

    @transaction.atomic
    def change(name: str, *, undo: bool) -> str:
        rename(pk, name)
        name_of.invalidate(pk)
        inside = name_of(pk)
        transaction.set_rollback(undo)
        return inside

    seen = [change("one", undo=True), name_of(pk), change("two", undo=False), name_of(pk)]

    assert ["one", "old", "two", "two"] == seen


def test_commit_that_fails_invalidates_nothing(pk: int, commands: Commands) -> None:
    """A constraint that is checked at commit undoes the transaction: what waited is dropped."""

    @transaction.atomic
    def change() -> None:
        ClubClass.objects.create(club_id=pk + 1, name="nowhere", start_time="2026-11-22T10:00Z")
        name_of.invalidate(pk)
        commands.clear()

    with pytest.raises(IntegrityError):
        change()

    assert [] == commands
    assert "old" == name_of.peek(pk)


def test_connection_closed_in_transaction_invalidates_nothing(pk: int, commands: Commands) -> None:
    """A connection lost before the commit has committed nothing, and invalidates nothing."""
    with transaction.atomic():
        name_of.invalidate(pk)
        commands.clear()
        connection.close()

    assert [] == commands
    assert "old" == name_of.peek(pk)


# --- savepoints ---


@pytest.mark.parametrize("kept", list(product([True, False], repeat=3)))
def test_invalidation_in_nested_blocks_goes_out_if_all_around_it_are_kept(kept: tuple[bool, bool, bool]) -> None:
    """Of three nested blocks, what each has invalidated before and after the inner one shares the block's fate."""
    keys = [Club.objects.create(name="old").pk for _ in kept]
    for key in keys:
        name_of(key)

    def nest(depth: int) -> None:
        if depth == len(kept):
            return
        with suppress(Undone), transaction.atomic():
            rename(keys[depth], "new")
            name_of.invalidate(keys[depth])
            nest(depth + 1)
            # What the inner block has undone is served again, and what it has kept computes.
            assert [name_of.uncached(key) for key in keys] == [name_of(key) for key in keys]
            if not kept[depth]:
                raise Undone

    nest(0)

    expected = [MISSING if all(kept[: depth + 1]) else "old" for depth in range(3)]
    assert expected == [name_of.peek(key) for key in keys]
    assert [name_of.uncached(key) for key in keys] == [name_of(key) for key in keys]


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_invalidation_beside_a_savepoint_rolled_back_goes_out(pk: int, *, is_first: bool) -> None:
    """The same call invalidated in an undone savepoint, and before or after it, is invalidated."""
    with transaction.atomic():
        rename(pk, "new")
        if is_first:
            name_of.invalidate(pk)
        with suppress(Undone), transaction.atomic():
            name_of.invalidate(pk)
            raise Undone
        if not is_first:
            name_of.invalidate(pk)

    assert "new" == name_of(pk)


@pytest.mark.parametrize(("undo", "expected"), [(True, "old"), (False, "new")])
def test_block_without_savepoint_shares_the_fate_of_the_one_around(pk: int, expected: str, *, undo: bool) -> None:
    """`atomic(savepoint=False)` has no commit and no rollback of its own."""
    with suppress(Undone), transaction.atomic():
        with transaction.atomic(savepoint=False):
            rename(pk, "new")
            name_of.invalidate(pk)
            if undo:
                raise Undone
        assert "old" == in_thread(lambda: name_of(pk))

    assert (expected, expected) == (name_of.uncached(pk), name_of(pk))


def test_savepoint_rolled_back_by_hand_undoes_what_came_after_it(pk: int) -> None:
    """What was invalidated before a savepoint goes out, and what was after it does not: as with a nested block."""
    with transaction.atomic():
        names.invalidate()
        savepoint = transaction.savepoint()
        rename(pk, "new")
        name_of.invalidate(pk)
        inside = name_of(pk)
        transaction.savepoint_rollback(savepoint)
        after = name_of(pk)

    assert ("new", "old", "old") == (inside, after, name_of.peek(pk))
    assert MISSING is names.peek()


def test_savepoint_by_sql_keeps_invalidations(pk: int) -> None:
    """A name that Django has not made may stand for any savepoint: a miss more, and no invalidation is lost."""
    with transaction.atomic():
        rename(pk, "new")
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT mine")
        name_of.invalidate(pk)
        connection.savepoint_rollback("mine")

    assert "new" == name_of(pk)


def test_savepoint_rolled_back_after_an_interrupt_undoes_the_rest(pk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalidation that an interrupt has left half noted is no obstacle to the rollback that follows."""

    class Interrupt(BaseException):
        """Raised by the handler of a signal."""

    def noted(pending: Pending, undo: Callable[[], object]) -> None:
        log(pending, undo)
        raise Interrupt

    log = Pending._log
    with transaction.atomic():
        name_of.invalidate(pk)
        with suppress(Interrupt), transaction.atomic(), monkeypatch.context() as patch:
            patch.setattr(Pending, "_log", noted)
            names.invalidate()

    assert (MISSING, ["old"]) == (name_of.peek(pk), names.peek())


def test_what_is_added_while_the_items_begin_anew_is_delivered() -> None:
    """A signal's handler may invalidate between any two lines, in the thread whose transaction it is."""
    delivered: list[list[str]] = []

    class Delivery:
        """A delivery of items that is interrupted where it is hashed next, by a handler that adds more."""

        is_due = False

        def __call__(self, items: list[str]) -> None:
            """Deliver."""
            delivered.append(items)

        def __eq__(self, other: object) -> bool:
            """Be itself."""
            return self is other

        def __hash__(self) -> int:
            """Be interrupted."""
            if self.is_due:
                self.is_due = False
                pending.add(delivered.append, ["of another"], [])
                pending.add(self, ["later"], [])
            return id(self)

    deliver = Delivery()
    with transaction.atomic():
        pending = pending_on(connection, open_block(connection))
        pending.add(deliver, ["first"], [])
        deliver.is_due = True
        pending.begin_anew()

    assert [["first", "later"], ["of another"]] == delivered
