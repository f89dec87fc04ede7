"""
Record invalidations: insert a row into the caller's transaction, deliver at commit, mark the row as acknowledged.

The row is inserted at once, since Django has no signal before a commit; one row for each token, however often the
transaction invalidates it. A rollback, of a savepoint too, removes the row.

The first INSERT of a transaction runs in a savepoint. If it fails (the table is missing, the role may not write, the
transaction is read-only), the caller's transaction stays as it was, the failure is an event, and the invalidation is
delivered as without an outbox. Later INSERTs run without: a savepoint costs two more round trips, and on PostgreSQL a
transaction with more than 64 savepoints that have written slows the whole server down. If one of them fails, the
database is in trouble, and the caller gets the error; so does one whose connection is lost at the first INSERT.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from django.db import connections, router, transaction

from cachedeco.invalidation import commits, transactions
from cachedeco.invalidation import delivery as invalidations
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.outbox.models import Row, acknowledge, has_table, rows
from cachedeco.runtime.databases import refuses_statements
from cachedeco.runtime.interrupts import pass_interrupt

UNRECORDED: Final = "The outbox can't record an invalidation: if it is lost, nothing repeats it"
BEGUN_BY_SQL: Final = f"{UNRECORDED}. Its transaction was begun by SQL, and not by atomic()"

# Databases without the table in which `migrate` runs. Its other migrations write, too, and may come first; what they
# invalidate is delivered as without an outbox, and no failure.
_migrating: set[str] = set()


@dataclass(frozen=True, slots=True)
class RecordedInvalidation:
    """An invalidation that waits for the commit, and its row."""

    using: str
    invalidation: Invalidation
    row: Row | None = field(default=None, compare=False)  #: None where it could not be recorded


def begin_migrations(using: str, **_: Any) -> None:
    """Expect that the table is made, if it is not there: a receiver of `pre_migrate`."""
    if not has_table(using):
        _migrating.add(using)


def end_migrations(using: str, **_: Any) -> None:
    """Expect it no more: a receiver of `post_migrate`."""
    _migrating.discard(using)


def record(using: str, several: Sequence[Invalidation]) -> None:
    """Insert a row for each invalidation into the transaction open on a database, and deliver when that commits."""
    connection = connections[using]
    pending = commits.pending_items(connection, deliver)
    first = next(iter(pending), None)
    items = {one: one for one in [RecordedInvalidation(using, each) for each in several]}
    new = [one for one in items if one not in pending]
    items |= {
        one: RecordedInvalidation(using, one.invalidation, row)
        for one, row in zip(new, _insert(using, new, first), strict=True)
    }
    commits.at_commit(connection, deliver, list(items.values()), invalidates=[each.key for each in several])


def deliver(items: list[RecordedInvalidation]) -> None:
    """Deliver invalidations, and mark those that arrived, by one UPDATE or DELETE in each database."""
    recorded = {each.invalidation for each in items if each.row}
    failed = invalidations.try_to_deliver([each.invalidation for each in items], recorded)
    lost = set(failed)
    # By database: a transaction has one, and a block of `deferred_invalidation()` perhaps several. A row has no pk if
    # the database does not return it. In a transaction managed by hand there is no commit yet, or an UPDATE here would
    # begin a transaction that is never ended. A deliverer acknowledges the rows in both cases.
    arrived: dict[str, list[int]] = {}
    for each in items:
        if each.row and each.row.pk and each.invalidation not in lost:
            arrived.setdefault(each.using, []).append(each.row.pk)
    try:
        for using, ids in arrived.items():
            _acknowledge(using, ids, items[0].invalidation)
    finally:
        invalidations.delay(failed, recorded)


def _acknowledge(using: str, ids: Sequence[int], invalidation: Invalidation) -> None:
    try:
        if not transactions.is_managed_by_hand(connections[using]):
            acknowledge(using, ids)
    except Exception as error:  # noqa: BLE001 -- an unacknowledged row is delivered again, which does no harm
        pass_interrupt(error)
        _tell_failure("The outbox can't note that an invalidation has arrived", invalidation, error)


def _insert(
    using: str, new: Sequence[RecordedInvalidation], first: RecordedInvalidation | None
) -> Sequence[Row | None]:
    """Insert rows; *first* is the first record of this transaction, None if these are the first."""
    none = [None] * len(new)
    if not new or not router.allow_migrate_model(using, Row) or connections[using].needs_rollback:
        return none  # the database has no table, or the transaction will be rolled back
    if refuses_statements(connections[using]):
        return none  # the statement whose tables these are has failed: what it has written will be rolled back, too
    if using in _migrating and not has_table(using):
        return none
    created = [
        Row(cache=each.store.alias, key=each.key, lifetime=each.lifetime, created=time())
        for each in [one.invalidation for one in new]
    ]
    if first is None:
        return created if _insert_in_savepoint(using, created, new[0].invalidation) else none
    if first.row is None:
        return none  # the first INSERT failed, and is not tried again in this transaction
    # Marks the transaction where it fails, as the error must not be kept from the caller: before Django 6.1
    # bulk_create() does so itself.
    with transaction.atomic(using=using, savepoint=False):
        rows(using).bulk_create(created)
    return created


def _insert_in_savepoint(using: str, created: Sequence[Row], invalidation: Invalidation) -> bool:
    """
    Insert rows in a savepoint; return False if that fails, and the transaction is as before.

    Raises:
        Error: It is not: without the error Django would roll it back in silence, and the caller's writes were lost.
    """
    try:
        with transaction.atomic(using=using):
            rows(using).bulk_create(created)  # it sends no signals
    except Exception as error:  # any: the cache never breaks the call
        pass_interrupt(error)
        if connections[using].needs_rollback:  # the savepoint was lost with the transaction, as of a lost connection
            raise
        is_by_sql = transactions.is_begun_by_sql(connections[using])
        _tell_failure(BEGUN_BY_SQL if is_by_sql else UNRECORDED, invalidation, error)
        return False
    return True


def _tell_failure(what: str, invalidation: Invalidation, error: Exception) -> None:
    invalidation.store.emit_failure(what, invalidation.key, error)
