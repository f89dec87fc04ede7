"""The last commit: entries wait for all transactions that may have written what they were computed from."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits, transactions
from cachedeco.invalidation.pending_entry import PendingEntry

T = TypeVar("T")


def at_last_commit(deliver: Callable[[list[T]], object], item: T, values: Mapping[str, bytes]) -> bool:
    """
    Deliver an entry as soon as all that it was computed from is committed: at once if this thread has written nothing.

    It waits for the last commit of the transactions that are open in this thread, on any database, and may have
    written; if one of them rolls back, or the savepoint that is open now, it is never delivered. A transaction of
    which we know an invalidation has written. PostgreSQL is asked. All others may have written.

    Args:
        deliver: Takes a list of items. Raises only interrupts.

        item: What to deliver.

        values: What `commits.pending_value()` gives in this thread until then.

    Returns:
        False if it can't be delivered: the end of a transaction that the caller manages by hand can't be seen.
    """
    written = [each for each in transactions.open_connections() if _may_have_written(each)]
    if not written:
        deliver([item])
        return True
    if any(map(transactions.is_managed_by_hand, written)):
        return False
    # Counted before it is added anywhere: an interrupt on the way leaves an entry that is never delivered.
    entry = PendingEntry(deliver, item, values, len(written))
    for connection in written:
        commits.pending_on(connection, transactions.open_block(connection)).add_entry(entry)
    return True


def _may_have_written(connection: BaseDatabaseWrapper) -> bool:
    invalidates = any(pending.invalidated for pending in commits.pending_of(connection))
    return invalidates or transactions.may_have_written(connection)
