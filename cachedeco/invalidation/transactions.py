"""
Transactions: which are open in this thread, whether they read old snapshots, and whether they have written.

`TestCase` wraps each test in `atomic()` blocks that never commit, and marks them: they count as no transaction. An
`atomic()` block of the test inside them counts, as it does in production.
"""

# ruff: noqa: SLF001 -- Django's own mark of the blocks of a TestCase, as its durable blocks use it; and its connections

import asyncio
from collections.abc import Sequence
from inspect import isroutine
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation.open_cursors import keep_snapshot
from cachedeco.invalidation.raw_queries import ask
from cachedeco.runtime.databases import FAILED
from cachedeco.storage.connections import connection as cache_connection

# An Atomic and its savepoint: the outermost has none, nor has `atomic(savepoint=False)`.
AtomicBlock = tuple[Any, str | None]

# States of a connection in libpq, as both versions of psycopg give them: a statement runs; in a transaction.
ACTIVE: Final = 1
IN_TRANSACTION: Final = (2, FAILED)
# The state of a connection in psycopg 2, which begins no transaction where it has begun one that SQL has ended.
BEGUN: Final = 2
# Vendors whose drivers know whether a transaction is open.
ASKED: Final = frozenset({"postgresql", "sqlite"})

# Whether the last statement of the others that was BEGIN, COMMIT or ROLLBACK, in autocommit, was BEGIN.
_open_by_text: WeakKeyDictionary[BaseDatabaseWrapper, bool] = WeakKeyDictionary()


# --- of this thread, on any database ---


def writes_can_roll_back(alias: str) -> bool:
    """Tell whether a rollback would undo a write to a cache: on the database cache, inside `atomic()`."""
    # Not Django's own cache object: an exception of a signal in asgiref's Local, which has it, may leave a lock taken.
    cache = cache_connection(alias).cache
    return isinstance(cache, DatabaseCache) and is_open(connections[router.db_for_write(cache.cache_model_class)])


def connections_here() -> Sequence[BaseDatabaseWrapper]:
    """Return the connections of this thread, as `connections.all(initialized_only=True)` does."""
    handler: Any = connections
    here = handler._connections
    if asyncio._get_running_loop() is None:
        # What asgiref uses then, too; but it raises and catches an exception at each look-up to learn it.
        here = here._storage
    return [found for alias in handler.settings if (found := getattr(here, alias, None)) is not None]


def snapshot_may_be_old() -> bool:
    """
    Tell whether a read in this thread may return older data than a stamp that is read now stands for.

    In a transaction at REPEATABLE READ or above, on SQLite, and where the level is unknown, a read does not see what
    other writers have committed, and invalidated, since the transaction began: such a value must not be stored. Any
    database counts, since it is unknown which ones a function reads.
    """
    return not all(map(sees_all_committed, connections_here()))


def any_open() -> bool:
    """
    Tell whether a transaction is open in this thread, on any database.

    It may hold locks that another caller waits for, and no other caller may see what it has written.
    """
    return any(map(is_open, connections_here()))


def any_in_test() -> bool:
    """Tell whether this thread is inside the block of a TestCase, on any database."""
    return any(map(is_in_test, connections_here()))


def open_connections() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread on which a transaction is open now, or may be."""
    return [
        connection
        for connection in connections_here()
        if open_block(connection) is not None
        or (is_managed_by_hand(connection) and driver_in_transaction(connection) is not False)
    ]


# --- of one connection ---


def may_be_open(connection: Any) -> bool:
    """Do as `is_open()` from another thread, while that of the connection may begin and end blocks, or close it."""
    try:
        return any(not each._from_testcase for each in connection.atomic_blocks) or is_managed_by_hand(connection)
    except (AttributeError, connection.Database.Error):  # it is being closed
        return True


def sees_all_committed(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement that runs now sees all that is committed now, and nothing else but what it wrote."""
    if is_managed_by_hand(connection):
        # The start of the transaction can't be seen.
        return driver_in_transaction(connection) is False
    if open_block(connection) is not None:
        return _reads_committed(connection)
    return not keep_snapshot(connection) and getattr(connection, "isolation_level", None) != "read uncommitted"


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a rollback can undo a write on this connection."""
    return open_block(connection) is not None or is_managed_by_hand(connection)


def is_managed_by_hand(connection: BaseDatabaseWrapper) -> bool:
    """
    Tell whether autocommit is off, the caller has sent BEGIN itself, or a block's transaction has ended.

    No `atomic()` block then commits at its end, and Django may never call a commit hook.
    """
    if connection.in_atomic_block:
        return not connection.commit_on_exit or _has_lost_transaction(connection)
    return connection.connection is not None and (
        not connection.autocommit or driver_in_transaction(connection) is True or _autocommits(connection) is False
    )


def is_begun_by_sql(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the caller has sent BEGIN itself: Django can't open a block in such a transaction."""
    return not connection.in_atomic_block and connection.autocommit and is_managed_by_hand(connection)


def _has_lost_transaction(connection: BaseDatabaseWrapper) -> bool:
    """
    Tell whether SQL, or an error, has ended a block's transaction, and each write is committed by itself.

    So it is on SQLite and with psycopg 2, and on MySQL by SET autocommit = 1.
    """
    driver: Any = connection.connection
    begins_no_other = connection.vendor == "sqlite" or getattr(driver, "status", None) == BEGUN
    return driver is not None and (
        (begins_no_other and driver_in_transaction(connection) is False) or _autocommits(connection) is True
    )


def _autocommits(connection: BaseDatabaseWrapper) -> bool | None:
    """Tell whether MySQL commits each statement, as its drivers know, and Django may not; None of others."""
    # A client of MongoDB has an attribute of every name, which is a database and no method.
    ask = getattr(connection.connection, "get_autocommit", None)
    return bool(ask()) if ask is not None and isroutine(ask) else None  # to ask that of None takes nine calls


def is_in_test(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the outermost block is that of a TestCase."""
    several: list[Any] = connection.atomic_blocks
    return bool(several) and several[0]._from_testcase


def open_block(connection: BaseDatabaseWrapper) -> AtomicBlock | None:
    """Return the outermost open block that is not TestCase's."""
    if not connection.atomic_blocks:  # nearly always
        return None
    return next((block for block in blocks(connection) if not block[0]._from_testcase), None)


def blocks(connection: BaseDatabaseWrapper) -> list[AtomicBlock]:
    """Return the open blocks, the outermost first: `@atomic` is one object for all its calls, a savepoint is not."""
    several: list[Any] = connection.atomic_blocks
    savepoints: list[Any] = connection.savepoint_ids
    return list(zip(several, [None] * (len(several) - len(savepoints)) + savepoints, strict=True))


def driver_in_transaction(connection: BaseDatabaseWrapper) -> bool | None:
    """Ask the driver, and not the server, whether a transaction is open; None if it can't tell."""
    driver: Any = connection.connection
    if driver is None or connection.closed_in_transaction:
        return False
    if connection.vendor == "sqlite":
        return bool(driver.in_transaction)
    if connection.vendor == "postgresql":
        status = driver.info.transaction_status
        # In a pipeline statements wait, and are one transaction.
        return status in IN_TRANSACTION or (status == ACTIVE and bool(getattr(driver.info, "pipeline_status", 0)))
    autocommits = _autocommits(connection)
    if autocommits is None:
        autocommits = connection in _open_by_text and connection.autocommit
    return _open_by_text.get(connection, False) if autocommits else None


def note_boundary(connection: BaseDatabaseWrapper, verb: str) -> None:
    """Note that a statement has begun or ended a transaction: the only way to know it where no driver can be asked."""
    if connection.vendor not in ASKED and not connection.in_atomic_block:
        _open_by_text[connection] = verb == "begin"


def forget_boundary(connection: BaseDatabaseWrapper) -> None:
    """Forget what `note_boundary()` has noted: the connection to the server is new."""
    _open_by_text.pop(connection, None)


# --- what the server knows: one more round trip for a miss inside a transaction ---


def may_have_written(connection: BaseDatabaseWrapper) -> bool:
    """
    Tell whether the open transaction of a connection may have written: if not, all that it reads is committed.

    PostgreSQL knows, as it numbers a transaction when it first writes or locks a row. Others can't be asked.
    """
    if connection.vendor != "postgresql":
        return True
    row = ask(connection, "SELECT txid_current_if_assigned()")
    return row is None or row[0] is not None


def _reads_committed(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether each statement is known to see all that was committed before it: READ COMMITTED."""
    if connection.vendor == "postgresql":
        # Django's own attribute ignores the server's default, the role and SET TRANSACTION.
        return ask(connection, "SHOW transaction_isolation") == ("read committed",)
    # On MySQL Django sets the level that it names, for each session. Other databases are unknown.
    return getattr(connection, "isolation_level", None) == "read committed"
