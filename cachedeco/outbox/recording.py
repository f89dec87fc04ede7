"""
From `invalidate()` to the acknowledgement: a row in the caller's transaction, delivered when that commits.

The row is inserted at once, as Django tells nobody before it commits; one for each token, however often the transaction
invalidates it. After a rollback, of the savepoint too, it has never been there.

The first INSERT of a transaction stands in a savepoint. Whatever keeps it from succeeding (the table is not there yet,
a role that may not, a transaction that only reads) leaves the caller's transaction as it was, and is an event; the
invalidation is then delivered as without an outbox. The others stand in none: a savepoint for each would be two round
trips more for each, and on PostgreSQL a transaction of more than 64 that have written slows the whole server down.
Where one of them fails, the database is in trouble, and the error is the caller's.
"""

from dataclasses import dataclass, field
from time import time

from django.db import connections, router, transaction

from cachedeco import invalidation as invalidations
from cachedeco import transactions
from cachedeco.events import Event, emit
from cachedeco.invalidation import Invalidation
from cachedeco.outbox.models import Row, acknowledge, rows


@dataclass(frozen=True, slots=True)
class Recorded:
    """An invalidation on its way, and its row."""

    using: str
    invalidation: Invalidation
    row: Row | None = field(default=None, compare=False)  #: None where it could not be recorded


def record(using: str, invalidation: Invalidation) -> None:
    """Insert a row for an invalidation into the transaction open on a database, and deliver it when that commits."""
    new = Recorded(using, invalidation)
    together = transactions.waiting_on(using, deliver)
    if not any(new in group for group in together):
        first = next((each for group in together for each in group), None)
        new = Recorded(using, invalidation, _inserted(new, first))
    transactions.at_commit(using, deliver, new, touches=(invalidation.key,))


def deliver(items: list[Recorded]) -> None:
    """Deliver what one transaction has recorded, and acknowledge what has arrived: one UPDATE, or DELETE."""
    left = invalidations.attempted([each.invalidation for each in items])
    lost = set(left)
    using = items[0].using
    # Without a pk where the database does not return it. By hand: no commit yet, or none that we may follow with an
    # UPDATE of our own, as that begins a transaction which nobody ends. A deliverer sees to both.
    arrived = [each.row.pk for each in items if each.row and each.row.pk and each.invalidation not in lost]
    if arrived and not transactions.is_managed_by_hand(using):
        try:
            acknowledge(using, arrived)
        except Exception as error:  # noqa: BLE001 -- what is not acknowledged is delivered again, which does no harm
            _failed("The outbox can't note that an invalidation has arrived", items[0].invalidation, error)
    invalidations.delay(left)


def _inserted(new: Recorded, first: Recorded | None) -> Row | None:
    """Insert a row; *first* is what this transaction has recorded first, and None if this is it."""
    using, invalidation = new.using, new.invalidation
    if not router.allow_migrate_model(using, Row) or connections[using].needs_rollback:
        return None  # the table is not to be there, or nothing of this transaction will
    row = Row(cache=invalidation.store.alias, key=invalidation.key, lifetime=invalidation.lifetime, created=time())
    if first is None:
        return _guarded(row, new)
    if first.row is None:
        return None  # what failed once in this transaction is not tried again
    rows(using).bulk_create([row])
    return row


def _guarded(row: Row, new: Recorded) -> Row | None:
    """Insert a row, and leave the transaction as it was where that fails."""
    try:
        with transaction.atomic(using=new.using):
            rows(new.using).bulk_create([row])  # it sends no signals
    except Exception as error:  # noqa: BLE001 -- the cache never breaks the call
        _failed("The outbox can't record an invalidation: if it is lost, nothing repeats it", new.invalidation, error)
        return None
    return row


def _failed(what: str, invalidation: Invalidation, error: Exception) -> None:
    emit(
        Event(
            "error", invalidation.store.function, invalidation.key, invalidation.store.alias, reason=what, error=error
        )
    )
