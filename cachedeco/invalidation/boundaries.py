"""
Boundaries: SQL of the caller's that commits, or rolls back, in the middle of a block, behind Django's back.

`COMMIT`, or any DDL on MySQL and Oracle, commits what was written before it, and the end of the block may undo what
follows: invalidations are delivered at both. After a rollback the block may go on to a commit, which is not one of what
was computed before. After either the same invalidation once more is a new one: what has recorded it for the transaction
before is committed, or gone.
"""

import re
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits

# The end of a rollback to a savepoint that Django has made, with an id of the thread and a number.
_TO_DJANGOS: Final = re.compile(r"""\bs\d+_x\d+["`]?\Z""").search


def note_commit(connection: BaseDatabaseWrapper) -> None:
    """Deliver the invalidations that wait for a commit of a connection; they wait on, and are delivered again."""
    if commits.waiting:
        for pending in commits.pending_of(connection):
            pending.deliver_early()


def note_rollback(connection: BaseDatabaseWrapper, text: object) -> None:
    """Drop the entries that wait, unless Django asks its hooks about the savepoint that a text goes back to."""
    if commits.waiting and not _TO_DJANGOS(str(text)):
        for pending in commits.pending_of(connection):
            pending.drop_entries()
            pending.begin_anew()
