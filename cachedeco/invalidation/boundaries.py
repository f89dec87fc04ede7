"""
Boundaries: SQL of the caller's that commits, or rolls back, in the middle of a block, behind Django's back.

`COMMIT`, or any DDL on MySQL and Oracle, commits what was written before it, and the end of the block may undo what
follows: invalidations are delivered at both. After a rollback, or an error that is one, the block may still commit, by
which nothing of before is committed. After a commit or a rollback the same invalidation once more is a new one:
what has recorded it for the transaction before is committed, or gone.
"""

import re
from contextlib import suppress
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits, transactions
from cachedeco.runtime.databases import refuses_statements

# The end of a rollback to a savepoint that Django has made, with an id of the thread and a number.
_TO_DJANGOS: Final = re.compile(r"""\bs\d+_x\d+["`]?\Z""").search


def note_commit(connection: BaseDatabaseWrapper) -> None:
    """Deliver the invalidations that wait for a commit of a connection; they wait on, and are delivered again."""
    if commits.waiting:
        for pending in commits.pending_of(connection):
            pending.deliver_early()


def note_rollback(connection: BaseDatabaseWrapper, text: object) -> None:
    """Drop the entries that wait, unless Django asks its hooks about the savepoint that a text goes back to."""
    if not commits.waiting:
        return
    for pending in commits.waiting_for(connection):
        pending.has_failed = refuses_statements(connection)
    if not _TO_DJANGOS(str(text)):
        for pending in commits.pending_of(connection):
            pending.begin_after_rollback()


def note_failure(connection: BaseDatabaseWrapper) -> None:
    """
    Note that a statement has failed, by which the database may have undone what was written before it.

    PostgreSQL refuses what follows, up to a rollback, and makes one of a commit. MySQL rolls back after a deadlock.
    """
    if not commits.waiting:
        return
    driver: Any = connection
    with suppress(driver.Database.Error):  # it is closed
        for pending in commits.waiting_for(connection):
            pending.has_failed = refuses_statements(connection)
            if not transactions.driver_in_transaction(connection):
                pending.begin_after_rollback()
