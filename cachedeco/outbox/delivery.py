"""The deliverer: what no cache has acknowledged, what a server has forgotten, and what is old enough to be deleted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import time
from typing import Final, NamedTuple

from django.db import connections, router, transaction

from cachedeco.invalidation.delivery import Invalidation, attempt
from cachedeco.outbox.heartbeat import Heartbeat, State
from cachedeco.outbox.models import Row, acknowledge, can_claim, claimed, delete, rows
from cachedeco.runtime import conf, modes
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.store import Store

# Seconds that the process which commits has for delivering by itself: two attempts at a server that is slow.
GRACE: Final = 2.0


class Report(NamedTuple):
    """What one run has come to."""

    delivered: int = 0  #: rows that a cache has acknowledged now
    replayed: int = 0  #: invalidations that were delivered again
    waiting: int = 0  #: rows that still wait for a cache


def tables() -> list[str]:
    """Return the aliases of the databases that have the table, as the routers have it."""
    return [alias for alias in connections if router.allow_migrate_model(alias, Row)]


def never() -> bool:
    """Say no: nobody wants to stop."""
    return False


class Deliverer:
    """
    Deliver what waits in the outboxes of some databases, as often as it is run.

    Args:
        databases: Their aliases; None is every one that has the table.

        batch: How many rows to deliver together.

        stopping: Tells, between two batches, whether to stop.
    """

    def __init__(
        self, databases: Sequence[str] | None = None, batch: int = 500, stopping: Callable[[], bool] = never
    ) -> None:
        """Make heartbeats for the caches, of which nobody knows anything yet."""
        self._databases = tables() if databases is None else list(databases)
        self._batch = batch
        self._stopping = stopping
        self._hearts = {alias: Heartbeat(alias) for alias in conf.settings().ALIASES}

    def run(self, *, replay: bool | None = None) -> Report:
        """
        Deliver what waits, and delete what is past the replay window.

        Args:
            replay: Deliver again what was acknowledged within the window. None: to a cache that seems to have
                forgotten something since the last run, which the first run can't know, and takes for granted.
        """
        if modes.current_mode() == "off":
            return Report()
        states: dict[str, State] = {alias: heart.beat() for alias, heart in self._hearts.items()}
        reports = [self._run_on(using, states, replay=replay) for using in self._databases]
        return Report(*map(sum, zip(*reports, strict=True)))

    def _run_on(self, using: str, states: Mapping[str, State], *, replay: bool | None) -> Report:
        """Do all for one database; what goes wrong with it is an event, and keeps none from the others."""
        reached = [alias for alias, state in states.items() if state != "unreachable"]
        forgetful = [alias for alias in reached if replay or (replay is None and states[alias] == "forgetful")]
        try:
            waiting = self._waiting(using, set(states).difference(reached))
            delivered, lost = self._deliver(using, reached)
            replayed = sum(self._replay(using, alias) for alias in forgetful)
            # Nothing of a cache that is still to be caught up: what it could not be told again is for the next run.
            self._prune(using, [alias for alias in reached if self._hearts[alias].is_trusted()])
        except Exception as error:  # noqa: BLE001 -- the database comes back, or another run tells the same
            emit(Event("error", reason=f"The outbox of database {using!r} can't be delivered", error=error))
            connections[using].close_if_unusable_or_obsolete()
            self._doubt(forgetful)
            return Report()
        return Report(delivered, replayed, waiting + lost)

    def _waiting(self, using: str, unreachable: Iterable[str]) -> int:
        """Count what waits for caches that can't be reached; each row is not tried, as each would be an event."""
        unreachable = list(unreachable)
        return rows(using).filter(acknowledged=None, cache__in=unreachable).count() if unreachable else 0

    def _deliver(self, using: str, reached: Sequence[str]) -> tuple[int, int]:
        """Deliver what was not acknowledged, each row once; return how many rows arrived, and how many did not."""
        due = rows(using).filter(acknowledged=None, cache__in=reached, created__lt=time() - GRACE).order_by("pk")
        last = delivered = lost = 0
        while not self._stopping():
            with self._claiming(using):
                found = list(claimed(due.filter(pk__gt=last)[: self._batch], using))
                if not found:
                    break
                left = set(attempt([_invalidation_of(row) for row in found]))
                # By name: of two rows with one name only the later one's lifetime was delivered.
                names = {(each.store.alias, each.key) for each in left}
                arrived = [row.pk for row in found if (row.cache, row.key) not in names]
                acknowledge(using, arrived)
            last, delivered, lost = found[-1].pk, delivered + len(arrived), lost + len(found) - len(arrived)
        return delivered, lost

    def _replay(self, using: str, alias: str) -> int:
        """Deliver again all that there is of one cache: what was acknowledged, and has not been deleted since."""
        replayed = last = 0
        while not self._stopping():
            # Without a claim: what another deliverer has in hand may have been delivered before the server forgot it.
            # No DISTINCT: many a collation takes keys for one that differ in case.
            found = list(rows(using).filter(cache=alias, pk__gt=last).order_by("pk")[: self._batch])
            if not found:
                return replayed
            names = {_invalidation_of(row) for row in found}
            lost = attempt(list(names))
            replayed, last = replayed + len(names) - len(lost), found[-1].pk
            if lost:
                break
        self._doubt([alias])
        return replayed

    def _prune(self, using: str, trusted: Sequence[str]) -> None:
        """Delete what was acknowledged before the window, but nothing of a cache that may want it when it returns."""
        before = time() - conf.settings().OUTBOX_SECONDS
        old = rows(using).filter(acknowledged__lt=before, cache__in=trusted).order_by("pk")
        while not self._stopping():
            with self._claiming(using):
                ids = [row.pk for row in claimed(old, using)[: self._batch]]
                delete(rows(using).filter(pk__in=ids), using)
            if len(ids) < self._batch:
                break

    def _claiming(self, using: str) -> AbstractContextManager[object]:
        """Return a transaction in which to claim rows; nothing where they can't be: there is nothing to hold then."""
        return transaction.atomic(using=using) if can_claim(using) else nullcontext()

    def _doubt(self, aliases: Iterable[str]) -> None:
        for alias in aliases:
            self._hearts[alias].doubt()


def _invalidation_of(row: Row) -> Invalidation:
    return Invalidation(Store(row.cache), row.key, row.lifetime)
