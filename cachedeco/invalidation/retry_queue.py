"""
Retry queue: invalidations that a cache has not acknowledged, delivered before this process uses the cache again.

The queue lives in this process and ends with it, after one last attempt at exit: of the interpreter, or of a child of
multiprocessing or of Celery, which ends by `os._exit()` and so runs nothing of `atexit`. Other processes do not know
it, and may serve old values meanwhile. After a fork both processes have a copy, and both deliver it: delivery is
idempotent in its effect, since one more new token does no harm.
"""

import atexit
import os
import sys
from collections.abc import Collection, Mapping
from functools import cache
from multiprocessing import parent_process
from typing import Final

from cachedeco.invalidation import transactions
from cachedeco.runtime.events import Event, Kind
from cachedeco.runtime.hooks import emit
from cachedeco.storage.breaker import Breaker, PendingInvalidation, breakers, enqueue_pending, is_outage
from cachedeco.storage.entries import new_token
from cachedeco.storage.store import Store

# How often a cache that takes others may refuse an invalidation before it is lost: with the pauses between, half a
# minute.
MOST_REFUSALS: Final = 5
RECORDED: Final = "the outbox has recorded it, and a deliverer sends it if this process does not"


def enqueue(alias: str, invalidations: Mapping[str, PendingInvalidation], *, pauses: bool) -> None:
    """Queue invalidations that a cache has not acknowledged: this process bypasses it until they are delivered."""
    new = enqueue_pending(alias, invalidations, flush, pauses=pauses)
    _deliver_when_child_ends(os.getpid())
    # Once for each key: in an outage a loop of writes invalidates the same ones again and again.
    _emit_each("invalidation_delayed", alias, {key: invalidations[key] for key in new})


def flush(breaker: Breaker) -> bool:
    """
    Deliver the queue of a cache that answers; return whether it has acknowledged all.

    Ends at the first command that finds the server unreachable: at most one timeout for the caller. A server that
    refuses every change is owed its invalidations, as one that is unreachable, and no refusal is counted.
    """
    store = Store(breaker.alias)
    if transactions.writes_can_roll_back(store.alias):
        return False  # a rollback would undo the delivery
    has_refused = False
    for batch in map(dict, store.chunks([*breaker.queue.copy().items()])):
        refused = write_or_delete(store, {key: pending.lifetime for key, pending in batch.items()})
        if refused is None:
            return False
        delivered = {key: pending for key, pending in batch.items() if key not in refused}
        breaker.acknowledge(delivered)
        _emit_each("invalidated", breaker.alias, delivered)
        has_refused |= _count_refusals(breaker, {key: batch[key] for key in refused})
    return not has_refused


def write_or_delete(store: Store, lifetimes: Mapping[str, float | None]) -> Collection[str] | None:
    """
    Write new tokens, with a lifetime for each key, ignoring the breaker, and delete one that the cache does not take.

    Returns:
        The keys that it has refused; None if it does not answer, or refuses every change.
    """
    refused, error = _write(store, lifetimes)
    if error is None:
        return refused
    if is_outage(error) or not store.takes_changes():
        return None
    all_refused: list[str] = []
    for key, lifetime in lifetimes.items():  # one by one: the refusal of one may have stopped the others
        if len(lifetimes) > 1:
            refused, error = _write(store, {key: lifetime})
        if error is None:
            all_refused += refused
        elif is_outage(error):
            return None
        # A server without memory for a token may still delete one, and a lost token is an invalidation.
        elif not store.delete_unguarded(key):
            all_refused.append(key)
    return all_refused


def _write(store: Store, lifetimes: Mapping[str, float | None]) -> tuple[Collection[str], Exception | None]:
    """Write new tokens; return the keys that the cache has not taken, and the error that it has raised."""
    try:
        written = store.write_unguarded([(key, new_token(), lifetime) for key, lifetime in lifetimes.items()])
        error = written.error  # of one server of several: the others get their tokens once more
    except Exception as raised:  # noqa: BLE001 -- any failure of the cache is an event
        store.pass_on(raised)
        error = raised
    else:
        if error is None:
            return [key for key, is_written in zip(lifetimes, written, strict=True) if not is_written], None
    store.emit_failure("Delivering an invalidation failed", next(iter(lifetimes)), error)
    return lifetimes, error


def _count_refusals(breaker: Breaker, refused: Mapping[str, PendingInvalidation]) -> bool:
    """Count a refusal of each; drop those that were refused too often, and return whether others remain."""
    for pending in refused.values():
        pending.refusals += 1
    lost = {key: pending for key, pending in refused.items() if pending.refusals >= MOST_REFUSALS}
    breaker.acknowledge(lost)
    _emit_lost(breaker.alias, lost)
    return len(lost) < len(refused)


@cache  # once in each process: one that was forked has none of what its parent has asked for
def _deliver_when_child_ends(_process: int) -> None:
    """Have the last attempt made where a child process of a pool ends without `atexit`."""
    if parent_process() is not None:  # a child of multiprocessing
        from multiprocessing.util import Finalize  # which imports a lot, for all that multiprocessing does

        Finalize(None, deliver_at_exit, exitpriority=0)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(deliver_at_exit, weak=False, dispatch_uid=__name__)


@atexit.register
def deliver_at_exit(**_: object) -> None:
    """Try once more to deliver the queue of each cache; what remains is lost."""
    for breaker in list(breakers.values()):
        if breaker.queue:
            breaker.end_pause()
            breaker.allows_request(Store(breaker.alias).probe)
            lost = breaker.queue.copy()
            breaker.acknowledge(lost)
            _emit_lost(breaker.alias, lost)


def _emit_each(kind: Kind, alias: str, invalidations: Mapping[str, PendingInvalidation]) -> None:
    for key, pending in invalidations.items():
        reason = RECORDED if pending.is_recorded and kind == "invalidation_delayed" else ""
        emit(Event(kind, pending.function, key, alias, reason=reason))


def _emit_lost(alias: str, invalidations: Mapping[str, PendingInvalidation]) -> None:
    """Emit that this process drops invalidations; those that a recorder has are not lost."""
    lost = {key: pending for key, pending in invalidations.items() if not pending.is_recorded}
    _emit_each("invalidation_lost", alias, lost)
