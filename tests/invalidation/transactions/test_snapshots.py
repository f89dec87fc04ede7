"""Nothing is stored that was read from a snapshot older than its stamp, or that may still be rolled back."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, connections, transaction

from cachedeco import MISSING, Event, cached_query, cached_query_many, listening
from cachedeco.invalidation import transactions
from tests.support.backends import Commands
from tests.support.clubs import Undone, name_of, names, other_name_of, rename
from tests.support.stored import stored
from tests.support.threads import in_thread

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("_nothing_left_waiting"),
]


@cached_query
def names_in_transaction() -> list[str]:
    """Return the names of all clubs, as one transaction."""
    with transaction.atomic():
        return names.uncached()


@cached_query
def renamed(pk: int) -> str:
    """Change the name of a club, and return it."""
    rename(pk, "newer")
    return name_of.uncached(pk)


@cached_query_many(over="ids")
def ids_renamed(ids: list[int]) -> dict[int, str]:
    """Change the names of clubs, and return them."""
    return {pk: renamed.uncached(pk) for pk in ids}


@pytest.fixture
def _read_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the connection say that each of its statements sees all that was committed before it."""
    monkeypatch.setattr(connections["default"], "isolation_level", "read committed", raising=False)


class PostgreSQL:
    """As much of a connection to PostgreSQL as is asked for the isolation level: what Django says, and the server."""

    vendor = "postgresql"
    closed_in_transaction = False
    isolation_level = 2  # Django's word: READ_COMMITTED, though the server may do otherwise

    class Database:
        """The driver."""

        class Error(Exception):
            """What it raises."""

    def __init__(self, answer: str | None) -> None:
        """Remember what the server says; None fails."""
        self.answer = answer
        self.connection = self
        self.asked: list[str] = []

    def cursor(self) -> "PostgreSQL":
        """Give a cursor of the driver's own."""
        return self

    def close(self) -> None:
        """End as a cursor."""

    def execute(self, sql: str) -> None:
        """Take the question."""
        self.asked.append(sql)
        if self.answer is None:
            raise self.Database.Error

    def fetchone(self) -> tuple[str | None]:
        """Give the answer."""
        return (self.answer,)


@pytest.fixture
def _by_hand(pk: int, _nothing_left_waiting: None) -> Iterator[None]:  # noqa: ARG001 -- both come before
    """Manage the transactions of the default database by hand."""
    connection.ensure_connection()
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


def _store_new(pk: int, verb: str) -> None:
    """Change the name to "new", without an invalidation, and make a verb store it."""
    rename(pk, "new")
    if verb == "set":
        name_of.call(pk).set("new")
    else:
        (name_of if verb == "call" else name_of.refresh)(pk)


# --- snapshots that may be old ---


@pytest.mark.parametrize("verb", ["call", "refresh", "set"])
@pytest.mark.parametrize(
    "level",
    [None, 8, "read uncommitted", "repeatable read", "serializable"],
    ids=str,
)
def test_value_from_a_snapshot_that_may_be_old_is_returned_and_not_stored(
    pk: int, level: object, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a transaction reads a snapshot, or it can't be told, no verb stores, then or at the commit."""
    monkeypatch.setattr(connections["default"], "isolation_level", level, raising=False)
    name_of.invalidate(pk)
    events: list[Event] = []
    with listening(events.append), transaction.atomic():
        _store_new(pk, verb)
        peeked = name_of.peek(pk)

    assert (MISSING, MISSING) == (peeked, name_of.peek(pk))
    assert "stored" not in [event.kind for event in events]
    reasons = [event.reason for event in events if event.kind == "unstored"]
    assert ["the transaction's snapshot may be older than the stamp"] == reasons


@pytest.mark.parametrize("verb", ["refresh", "set"])
def test_value_that_may_not_be_stored_invalidates_what_is(pk: int, verb: str) -> None:
    """Where refresh() and set() can't store, the old value is not served either, from the commit on."""
    with transaction.atomic():
        _store_new(pk, verb)
        inside = [name_of(pk), in_thread(lambda: name_of.peek(pk))]

    assert (["new", "old"], MISSING) == (inside, name_of.peek(pk))


def test_reader_in_an_old_snapshot_stores_nothing(pk: int) -> None:
    """A reader whose transaction began before an invalidation computes an old value after it, and does not store it."""
    with transaction.atomic():
        before = names.uncached()
        in_thread(lambda: rename(pk, "new"))
        in_thread(names.invalidate)
        seen = names()
        elsewhere = in_thread(names)

    assert (["old"], ["old"], ["new"], ["new"]) == (before, seen, elsewhere, names())


def test_reader_in_an_old_snapshot_is_served_what_is_newer(pk: int) -> None:
    """A hit inside a transaction is a hit: what others have stored is not older than its snapshot."""
    with transaction.atomic():
        names.uncached()
        in_thread(lambda: rename(pk, "new"))
        in_thread(names.invalidate)
        in_thread(names)

        assert ["new"] == names()


def test_transaction_inside_the_computation_is_no_obstacle(pk: int) -> None:
    """A function that is a transaction itself begins it after its stamp was read: its value is stored."""
    assert ["old"] == names_in_transaction()

    assert ["old"] == names_in_transaction.peek()
    assert pk


def test_old_snapshot_of_another_database_stores_nothing(pk: int) -> None:
    """A router may have sent the rows there: the open transactions of all databases count."""
    other_name_of.invalidate(pk)
    with transaction.atomic():
        found = other_name_of(pk)

    assert ("old", MISSING) == (found, other_name_of.peek(pk))


# --- READ COMMITTED ---


@pytest.mark.usefixtures("_read_committed")
@pytest.mark.parametrize("verb", ["call", "refresh", "set"])
def test_value_computed_in_a_transaction_is_stored_at_commit(pk: int, verb: str) -> None:
    """At READ COMMITTED a value is stored, but not before the commit: it may hold what no other connection may see."""
    name_of.invalidate(pk)
    with transaction.atomic():
        _store_new(pk, verb)
        inside = [name_of.peek(pk), in_thread(lambda: name_of.peek(pk))]

    assert (["new", MISSING], "new") == (inside, name_of.peek(pk))


@pytest.mark.usefixtures("_read_committed")
def test_value_stored_last_in_a_transaction_is_the_one_that_counts(pk: int) -> None:
    """Of values stored before, in and after a savepoint the last one is served, in the transaction and after it."""
    with transaction.atomic():
        name_of.call(pk).set("first")
        with transaction.atomic():
            name_of.call(pk).set("second")
        name_of.call(pk).set("third")
        inside = name_of.peek(pk)

    assert ("third", "third") == (inside, name_of.peek(pk))


@pytest.mark.usefixtures("_read_committed")
@pytest.mark.parametrize("savepoint", [True, False])
def test_value_computed_in_what_is_rolled_back_is_not_stored(pk: int, *, savepoint: bool) -> None:
    """A value that holds a change which was undone goes with it, whether the transaction or a savepoint was undone."""
    name_of.invalidate(pk)
    with suppress(Undone), transaction.atomic():
        with suppress(Undone if savepoint else ()), transaction.atomic():
            rename(pk, "new")
            assert "new" == name_of(pk)
            raise Undone
        assert "old" == name_of(pk)

    assert ("old" if savepoint else MISSING) == name_of.peek(pk)
    assert "old" == name_of(pk)


@pytest.mark.usefixtures("_read_committed")
def test_value_computed_in_a_savepoint_rolled_back_by_hand_is_not_stored(pk: int) -> None:
    """What was computed after the savepoint began holds rows that are undone; what was before it is stored."""
    name_of.invalidate(pk)
    names.invalidate()
    with transaction.atomic():
        assert ["old"] == names()
        savepoint = transaction.savepoint()
        rename(pk, "new")
        assert "new" == name_of(pk)
        transaction.savepoint_rollback(savepoint)

    assert (["old"], MISSING) == (names.peek(), name_of.peek(pk))


@pytest.mark.usefixtures("_read_committed")
def test_value_computed_before_the_transaction_invalidated_it_is_not_served(pk: int) -> None:
    """What a transaction computed before its own invalidation is dead when both go out, in any order."""
    name_of.invalidate(pk)
    with transaction.atomic():
        name_of(pk)
        rename(pk, "new")
        name_of.invalidate(pk)

    assert (MISSING, "new") == (name_of.peek(pk), name_of(pk))


@pytest.mark.usefixtures("_read_committed")
def test_value_is_stored_without_the_invalidations_that_were_undone(pk: int, commands: Commands) -> None:
    """A transaction whose savepoints have undone all its invalidations sends what it has computed, and no more."""
    names.invalidate()
    with transaction.atomic():
        names()
        with suppress(Undone), transaction.atomic():
            name_of.invalidate(pk)
            raise Undone
        commands.clear()

    assert ["set_many"] == commands.names


@pytest.mark.usefixtures("_read_committed")
def test_value_computed_before_anothers_invalidation_is_not_served(pk: int) -> None:
    """A value that waits for the commit while another process invalidates its call is dead when it arrives."""
    names.invalidate()
    with transaction.atomic():
        rename(pk, "mine")
        names()
        in_thread(names.invalidate)

    assert MISSING is names.peek()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("read committed", True), ("repeatable read", False), ("serializable", False), (None, False)],
    ids=str,
)
def test_isolation_on_postgresql_is_what_the_server_says(answer: str | None, *, expected: bool) -> None:
    """A default of the server, of the role or SET TRANSACTION changes the level behind Django's back."""
    server = PostgreSQL(answer)

    found = transactions._reads_committed(server)  # type: ignore[arg-type]

    assert (expected, ["SHOW transaction_isolation"]) == (found, server.asked)


# --- transactions by hand ---


@pytest.mark.usefixtures("_by_hand")
def test_value_computed_in_a_transaction_by_hand_is_not_stored(pk: int) -> None:
    """With autocommit off nothing tells when a transaction began: once the driver is in one, nothing is stored."""
    events: list[Event] = []
    rename(pk, "new")
    stored().delete(name_of.key_for(pk))

    with listening(events.append):
        found = name_of(pk), name_of.peek(pk)

    assert ("new", MISSING) == found
    assert ["miss", "unstored", "computed"] == [event.kind for event in events]


@pytest.mark.usefixtures("_by_hand")
def test_value_computed_before_a_transaction_by_hand_is_stored(pk: int) -> None:
    """With autocommit off, and no statement since the last commit that began one, no transaction is open."""
    stored().delete(name_of.key_for(pk))

    assert ("old", "old") == (name_of(pk), name_of.peek(pk))


@pytest.mark.usefixtures("_by_hand")
@pytest.mark.parametrize("kind", ["single", "many"])
def test_value_of_a_computation_that_begins_a_transaction_by_hand_is_not_stored(pk: int, kind: str) -> None:
    """What a function has written is uncommitted, and nothing tells when it is committed."""
    events: list[Event] = []
    with listening(events.append):
        if kind == "single":
            renamed(pk)
        else:
            ids_renamed([pk])

    reasons = [event.reason for event in events if event.kind == "unstored"]
    assert ["it may contain what a transaction that is managed by hand has written"] == reasons
    assert (MISSING, {}) == (renamed.peek(pk), ids_renamed.peek([pk]))


@pytest.mark.usefixtures("_by_hand")
def test_old_entry_is_invalidated_where_refresh_begins_a_transaction_by_hand(pk: int) -> None:
    """A refresh that can't store does not leave the old value, single or many."""
    transaction.set_autocommit(True)
    renamed(pk)
    ids_renamed([pk])
    transaction.set_autocommit(False)

    renamed.refresh(pk)
    transaction.rollback()
    ids_renamed.refresh([pk])
    transaction.rollback()

    assert (MISSING, {}) == (renamed.peek(pk), ids_renamed.peek([pk]))


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_before_commit_by_hand_is_sent_again_at_the_next_look(pk: int) -> None:
    """With autocommit off for good, the next call after the commit ends what another reader has stored before it."""
    rename(pk, "new")
    name_of.invalidate(pk)
    before = in_thread(lambda: name_of(pk))
    transaction.commit()

    assert ("old", "new") == (before, name_of(pk))


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_before_the_write_by_hand_waits_for_its_commit(pk: int) -> None:
    """A look between an early invalidation and its write finds no transaction, and does not take it for ended."""
    name_of.invalidate(pk)
    looked = name_of.peek(pk)
    rename(pk, "new")
    before = in_thread(lambda: name_of(pk))
    still = name_of(pk)
    transaction.commit()

    assert (MISSING, "old", "new", "new") == (looked, before, still, name_of(pk))


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_by_hand_is_sent_again_when_the_connection_is_closed(pk: int) -> None:
    """Django closes a connection on which autocommit was left off, at the end of a request."""
    rename(pk, "new")
    name_of.invalidate(pk)
    before = in_thread(lambda: name_of(pk))
    transaction.commit()
    connection.close_if_unusable_or_obsolete()

    assert ("old", "new") == (before, in_thread(lambda: name_of(pk)))
    connection.ensure_connection()
    transaction.set_autocommit(False)


@pytest.mark.usefixtures("_by_hand")
def test_connection_closed_in_a_block_by_hand_is_in_no_transaction(pk: int) -> None:
    """What is asked of the driver is not asked of a connection that the caller has closed."""
    with transaction.atomic():
        connection.close()
        name_of.invalidate(pk)
        inside = name_of.peek(pk)
    outside = name_of.peek(pk)
    connection.connect()  # Django 5.2 leaves it inside the block
    transaction.set_autocommit(False)

    assert (MISSING, MISSING) == (inside, outside)


def test_driver_that_can_not_be_asked_may_be_in_a_transaction() -> None:
    """Of a database that is neither PostgreSQL nor SQLite nothing is known."""
    server = PostgreSQL(None)
    server.vendor = "mysql"

    assert transactions.driver_in_transaction(server) is None  # type: ignore[arg-type]


def test_driver_that_knows_of_autocommit_is_in_no_transaction_with_it() -> None:
    """Of MySQL only that is known: without autocommit each statement may have begun one."""
    server: Any = PostgreSQL(None)
    server.vendor = "mysql"

    found = []
    for is_on in (True, False):
        server.get_autocommit = lambda is_on=is_on: is_on
        found.append(transactions.driver_in_transaction(server))

    assert [False, None] == found


def test_client_with_attributes_of_every_name_is_in_no_known_transaction() -> None:
    """As that of MongoDB, which takes each name for that of a database: such an attribute is no method to call."""
    server: Any = PostgreSQL(None)
    server.vendor = "mongodb"
    server.get_autocommit = object()

    assert transactions.driver_in_transaction(server) is None


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_after_commit_by_hand_reaches_everybody(pk: int) -> None:
    """With autocommit off, a caller that invalidates after the commit is right."""
    rename(pk, "new")
    transaction.commit()
    name_of.invalidate(pk)

    assert "new" == in_thread(lambda: name_of(pk))


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_before_commit_by_hand_reaches_everybody(pk: int) -> None:
    """With autocommit off, an invalidation is not undone by a reader before the commit, once autocommit is back."""
    rename(pk, "new")
    name_of.invalidate(pk)
    inside = name_of(pk)
    before = in_thread(lambda: name_of(pk))
    transaction.commit()
    transaction.set_autocommit(True)

    assert ("new", "old", "new") == (inside, before, name_of(pk))


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_in_a_block_by_hand_reaches_everybody_after_commit(pk: int) -> None:
    """With autocommit off, an atomic block is a savepoint: what it invalidates goes out when all is committed."""
    with transaction.atomic():
        rename(pk, "new")
        name_of.invalidate(pk)
    transaction.commit()
    transaction.set_autocommit(True)

    assert "new" == name_of(pk)


@pytest.mark.usefixtures("_by_hand")
def test_invalidation_in_a_block_by_hand_goes_out_where_autocommit_never_comes_back(pk: int) -> None:
    """With autocommit off for good Django never runs its commit hooks: an invalidation can't wait for them."""
    with transaction.atomic():
        name_of.invalidate(pk)
    transaction.commit()

    assert MISSING is in_thread(lambda: name_of.peek(pk))


def test_connection_that_its_thread_closes_meanwhile_counts_as_in_a_transaction() -> None:
    """An event loop can't tell then, and leaves it to the thread; of others it tells what the thread would."""
    other = connections.create_connection("other")
    other.ensure_connection()
    driver: Any = other.connection
    found = [transactions.may_be_open(other)]
    with transaction.atomic():
        found.append(transactions.may_be_open(connection))
    driver.close()

    found.append(transactions.may_be_open(other))

    assert [False, True, True] == found
