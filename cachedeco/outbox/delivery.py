"""The deliverer: deliver rows of the outbox, replay them to servers that lost memory, delete old rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from time import time
from typing import Final, NamedTuple

from django.db import connections, transaction
from django.db.models import Q

from cachedeco.invalidation.commits import LONGEST_DEFERRED_SECONDS
from cachedeco.invalidation.delivery import Invalidation, attempt_or_delete
from cachedeco.invalidation.tables import tables
from cachedeco.invalidation.writes import invalidations_of_tables
from cachedeco.outbox.heartbeat import CacheState, Heartbeat
from cachedeco.outbox.models import BY_TRIGGER, Row, acknowledge, can_claim, claim, delete, outbox_databases, rows
from cachedeco.runtime import conf, modes
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.store import Store
from cachedeco.tracking.views import tables_written

# Seconds for the committing process to deliver its own rows: two attempts at a slow server.
COMMIT_SECONDS: Final = 2 * LONGEST_DEFERRED_SECONDS


class Report(NamedTuple):
    """The result of one run."""

    delivered: int = 0  #: rows that a cache acknowledged in this run
    replayed: int = 0  #: invalidations that were delivered again
    waiting: int = 0  #: rows that still wait for a cache
    failed: int = 0  #: databases whose rows could not be read or marked


class Deliverer:
    """
    Deliver the waiting rows of some databases, at each `run()`.

    Args:
        databases: Aliases; None is every database that has the table.

        batch: Number of rows to deliver together.

        stopping: Called between two batches; the run ends if it returns True.
    """

    def __init__(
        self, databases: Sequence[str] | None = None, batch: int = 500, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        """Create a heartbeat for each cache; nothing is sent."""
        self.databases = outbox_databases() if databases is None else list(databases)
        self._batch = batch
        self._stopping = stopping
        self._hearts = {alias: Heartbeat(alias) for alias in conf.settings().ALIASES}

    def run(self, *, replay: bool | None = None) -> Report:
        """
        Deliver waiting rows, and delete those past the replay window.

        Args:
            replay: Deliver rows again that were acknowledged within the window. None: to caches that seem to have lost
                memory since the last run; the first run can't know, and assumes it of all.
        """
        if modes.current_mode() == "off":
            return Report()
        states: dict[str, CacheState] = {alias: heart.beat() for alias, heart in self._hearts.items()}
        reports = [self._run_on(using, states, replay=replay) for using in self.databases]
        return Report(*map(sum, zip(*reports, strict=True)))

    def _run_on(self, using: str, states: Mapping[str, CacheState], *, replay: bool | None) -> Report:
        """Deliver, replay and delete for one database; an error is an event, and does not stop the other databases."""
        reached = [alias for alias, state in states.items() if state != "unreachable"]
        forgetful = [alias for alias in reached if replay or (replay is None and states[alias] == "forgetful")]
        try:
            self._expand(using)
            waiting = self._count_waiting(using, set(states).difference(reached))
            delivered, lost = self._deliver(using, reached)
            replayed = sum(self._replay(using, alias) for alias in forgetful)
            # No rows of a cache whose replay is incomplete: the next run needs them.
            self._prune(using, [alias for alias in reached if self._hearts[alias].written is not None])
        except Exception as error:  # noqa: BLE001 -- the database comes back, or the next run reports it again
            pass_interrupt(error)
            emit(Event("error", reason=f"The outbox of database {using!r} can't be delivered", error=error))
            connections[using].close_if_unusable_or_obsolete()
            self._require_replay(forgetful)
            return Report(failed=1)
        return Report(delivered, replayed, waiting + lost)

    def _expand(self, using: str) -> None:
        """Replace the rows of triggers by rows of the tokens that such writes end, in the caches of the settings."""
        if connections[using].vendor != "postgresql":
            return
        by_triggers = rows(using).filter(acknowledged=None, cache=BY_TRIGGER).order_by("pk")
        while True:
            with transaction.atomic(using=using):
                found = list(claim(by_triggers[: self._batch], using))
                ended = {each for row in found for each in _tables_written(using, row.key)}
                # Created long ago: no process delivers them by itself, so a deliverer waits for none.
                rows(using).bulk_create(
                    [Row(cache=each.store.alias, key=each.key, created=0) for each in invalidations_of_tables(ended)]
                )
                delete(rows(using).filter(pk__in=[row.pk for row in found]), using)
            if len(found) < self._batch or self._stopping():
                break

    def _count_waiting(self, using: str, unreachable: Iterable[str]) -> int:
        """Count the rows of unreachable caches; none is tried, since each failure would be an event."""
        unreachable = list(unreachable)
        return rows(using).filter(acknowledged=None, cache__in=unreachable).count() if unreachable else 0

    def _deliver(self, using: str, reached: Sequence[str]) -> tuple[int, int]:
        """Deliver each unacknowledged row once; return the numbers of rows that arrived, and that did not."""
        now = time()
        # A row of the time to come is of a process whose clock is ahead: how long ago it committed is unknown.
        due = Q(created__lt=now - COMMIT_SECONDS) | Q(created__gt=now + COMMIT_SECONDS)
        waiting = rows(using).filter(due, acknowledged=None, cache__in=reached).order_by("pk")
        last = delivered = lost = 0
        while not self._stopping():
            with self._claiming(using):
                found = list(claim(waiting.filter(pk__gt=last)[: self._batch], using))
                if not found:
                    break
                failed = set(attempt_or_delete([_invalidation_of(row) for row in found]))
                # By alias and key: of two rows with the same key only the later one's lifetime was delivered.
                names = {(each.store.alias, each.key) for each in failed}
                arrived = [row.pk for row in found if (row.cache, row.key) not in names]
                acknowledge(using, arrived)
            last, delivered, lost = found[-1].pk, delivered + len(arrived), lost + len(found) - len(arrived)
        return delivered, lost

    def _replay(self, using: str, alias: str) -> int:
        """Deliver all rows of one cache again, acknowledged ones included; return the number of invalidations."""
        replayed = last = 0
        while not self._stopping():
            # Without a claim: another deliverer may have delivered its rows before the server lost them.
            # No DISTINCT: many collations treat keys that differ in case as equal.
            found = list(rows(using).filter(cache=alias, pk__gt=last).order_by("pk")[: self._batch])
            if not found:
                return replayed
            names = {_invalidation_of(row) for row in found}
            lost = attempt_or_delete(list(names))
            replayed, last = replayed + len(names) - len(lost), found[-1].pk
            if lost:
                break
        self._require_replay([alias])
        return replayed

    def _prune(self, using: str, trusted: Sequence[str]) -> None:
        """Delete rows acknowledged before the window, except those of caches that may need a replay."""
        before = time() - conf.settings().OUTBOX_SECONDS
        old = rows(using).filter(acknowledged__lt=before, cache__in=trusted).order_by("pk")
        while not self._stopping():
            with self._claiming(using):
                ids = [row.pk for row in claim(old, using)[: self._batch]]
                delete(rows(using).filter(pk__in=ids), using)
            if len(ids) < self._batch:
                break

    def _claiming(self, using: str) -> AbstractContextManager[object]:
        """Return a transaction in which to claim rows; a null context if the database can't claim rows."""
        return transaction.atomic(using=using) if can_claim(using) else nullcontext()

    def _require_replay(self, aliases: Iterable[str]) -> None:
        for alias in aliases:
            self._hearts[alias].written = None


def _tables_written(using: str, text: str) -> frozenset[str]:
    """Return the tables whose entries a write ends that a trigger has recorded: on a partition, also of the whole."""
    # Which columns it has set is unknown. A form that is known from end to end does not write every table.
    text = f"{text} SET (a) = (b)" if text.startswith("UPDATE ") else text
    effect = tables().effect_of(text)
    written, _ = tables_written(connections[using], effect.elsewhere)
    return tables().effect_beyond(text, written, are_found=True).writes if written else effect.writes


def _invalidation_of(row: Row) -> Invalidation:
    return Invalidation(Store(row.cache), row.key, row.lifetime)
