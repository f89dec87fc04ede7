"""
The journal: invalidations that a cache has not acknowledged, delivered before this process trusts it again.

It lives in this process and ends with it, after one last attempt at the exit. Other processes know nothing of it, and
may serve old values meanwhile. After a fork both processes have a copy, and both deliver: a token more does no harm.
"""

import atexit
from collections.abc import Collection, Iterator, Mapping
from os import urandom
from typing import Final

from cachedeco.invalidation import transactions
from cachedeco.runtime.events import Event, Kind
from cachedeco.runtime.hooks import emit
from cachedeco.storage.breaker import Breaker, PendingInvalidation, breakers, enqueue_pending, is_outage
from cachedeco.storage.entries import TOKEN_BYTES
from cachedeco.storage.store import FailedKeys, Store

# One command's worth: a server that is slow to take a hundred thousand must not look like one that hangs.
BATCH: Final = 1000
# So often may a cache that answers refuse an invalidation until that is lost: with the pauses between, half a minute.
REFUSALS: Final = 5


def enqueue(alias: str, pendings: Mapping[str, PendingInvalidation]) -> None:
    """Note invalidations that a cache has not acknowledged: this process goes past it until they are delivered."""
    enqueue_pending(alias, pendings, flush)
    _emit("invalidation_delayed", alias, pendings)


def flush(breaker: Breaker) -> bool:
    """
    Deliver what is owed to a cache that answers; tell whether it has taken all.

    The first command that finds the server gone ends it: no more than one timeout for one caller.
    """
    store = Store(breaker.alias)
    if transactions.writes_can_roll_back(store.alias):
        return False  # a rollback would undo it
    refused = False
    for batch, lifetime in list(_batches(breaker.queue)):
        left = _delivered(store, batch, lifetime)
        if left is None:
            return False
        taken = {key: pending for key, pending in batch.items() if key not in left}
        breaker.acknowledge(taken)
        _emit("invalidated", breaker.alias, taken)
        refused |= _is_refused(breaker, {key: batch[key] for key in left})
    return not refused


def _batches(queue: dict[str, PendingInvalidation]) -> Iterator[tuple[dict[str, PendingInvalidation], float | None]]:
    """Give what can go in one command, with the lifetime of its tokens: the longest, and those for ever apart."""
    for is_for_ever in (True, False):
        pendings = [
            (key, pending) for key, pending in queue.copy().items() if (pending.lifetime is None) is is_for_ever
        ]
        for start in range(0, len(pendings), BATCH):
            batch = dict(pendings[start : start + BATCH])
            yield batch, max((each.lifetime for each in batch.values() if each.lifetime is not None), default=None)


def _delivered(
    store: Store, batch: Mapping[str, PendingInvalidation], lifetime: float | None
) -> Collection[str] | None:
    """Return the keys that the cache answered for and did not take; None where it does not answer."""
    try:
        left = store.write_many({key: urandom(TOKEN_BYTES) for key in batch}, lifetime)
        error = left.error  # of one server of several: what the others have taken, they are told again
    except Exception as raised:  # noqa: BLE001 -- any failure is an event
        left, error = FailedKeys(batch), raised
    if error is None:
        return left
    store.tell_failure("Delivering an invalidation failed", next(iter(batch)), error)
    if is_outage(error):
        return None
    if len(batch) == 1:
        [key] = batch
        # A server without memory for a token may still remove one, and a token that is lost is an invalidation.
        return () if store.remove(key) else (key,)
    rest: list[str] = []
    for key, pending in batch.items():  # one may have been refused, and the others with it
        refused = _delivered(store, {key: pending}, lifetime)
        if refused is None:
            return None
        rest += refused
    return rest


def _is_refused(breaker: Breaker, pendings: Mapping[str, PendingInvalidation]) -> bool:
    """Count a refusal of each; give up those that were refused too often, and tell whether others remain."""
    for pending in pendings.values():
        pending.refusals += 1
    lost = {key: pending for key, pending in pendings.items() if pending.refusals >= REFUSALS}
    breaker.acknowledge(lost)
    _emit("invalidation_lost", breaker.alias, lost)
    return len(lost) < len(pendings)


@atexit.register
def deliver_at_exit() -> None:
    """Try once more to deliver what is owed to any cache; what is left is lost."""
    for breaker in list(breakers.values()):
        if breaker.queue:
            breaker.end_pause()
            breaker.allows_request(Store(breaker.alias).answers)
            lost = breaker.queue.copy()
            breaker.acknowledge(lost)
            _emit("invalidation_lost", breaker.alias, lost)


def _emit(kind: Kind, alias: str, pendings: Mapping[str, PendingInvalidation]) -> None:
    for key, pending in pendings.items():
        emit(Event(kind, pending.function, key, alias))
