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

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time

from django.db import connections, router, transaction

from cachedeco.invalidation import delivery as invalidations
from cachedeco.invalidation import transactions
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.outbox.models import Row, acknowledge, rows


@dataclass(frozen=True, slots=True)
class Recorded:
    """An invalidation on its way, and its row."""

    using: str
    invalidation: Invalidation
    row: Row | None = field(default=None, compare=False)  #: None where it could not be recorded


def record(using: str, several: Sequence[Invalidation]) -> None:
    """Insert a row for each invalidation into the transaction open on a database, and deliver when that commits."""
    together = transactions.pending_groups(using, deliver)
    first = next((each for group in together for each in group), None)
    items = {one: one for one in [Recorded(using, each) for each in several]}
    new = [one for one in items if not any(one in group for group in together)]
    items |= {
        one: Recorded(using, one.invalidation, row) for one, row in zip(new, _inserted(using, new, first), strict=True)
    }
    transactions.at_commit(using, deliver, list(items.values()), invalidates=[each.key for each in several])


def deliver(items: list[Recorded]) -> None:
    """Deliver what one transaction has recorded, and acknowledge what has arrived: one UPDATE, or DELETE."""
    left = invalidations.try_to_deliver([each.invalidation for each in items])
    lost = set(left)
    using = items[0].using
    # Without a pk where the database does not return it. By hand: no commit yet, or none that we may follow with an
    # UPDATE of our own, as that begins a transaction which nobody ends. A deliverer sees to both.
    arrived = [each.row.pk for each in items if each.row and each.row.pk and each.invalidation not in lost]
    if arrived and not transactions.is_managed_by_hand(using):
        try:
            acknowledge(using, arrived)
        except Exception as error:  # noqa: BLE001 -- what is not acknowledged is delivered again, which does no harm
            _tell_failure("The outbox can't note that an invalidation has arrived", items[0].invalidation, error)
    invalidations.delay(left)


def _inserted(using: str, new: Sequence[Recorded], first: Recorded | None) -> Sequence[Row | None]:
    """Insert rows; *first* is what this transaction has recorded first, and None if these are."""
    none = [None] * len(new)
    if not new or not router.allow_migrate_model(using, Row) or connections[using].needs_rollback:
        return none  # the table is not to be there, or nothing of this transaction will
    made = [
        Row(cache=each.store.alias, key=each.key, lifetime=each.lifetime, created=time())
        for each in [one.invalidation for one in new]
    ]
    if first is None:
        return made if _guarded(using, made, new[0].invalidation) else none
    if first.row is None:
        return none  # what failed once in this transaction is not tried again
    rows(using).bulk_create(made)
    return made


def _guarded(using: str, made: Sequence[Row], invalidation: Invalidation) -> bool:
    """Insert rows, and leave the transaction as it was where that fails; tell whether they are there."""
    try:
        with transaction.atomic(using=using):
            rows(using).bulk_create(made)  # it sends no signals
    except Exception as error:  # noqa: BLE001 -- the cache never breaks the call
        _tell_failure("The outbox can't record an invalidation: if it is lost, nothing repeats it", invalidation, error)
        return False
    return True


def _tell_failure(what: str, invalidation: Invalidation, error: Exception) -> None:
    invalidation.store.emit_failure(what, invalidation.key, error)
