"""
Invalidate: write a new token at commit, and retry until the cache acknowledges it.

An invalidation that the cache does not acknowledge goes to the retry queue, and is delivered before this process uses
the cache again.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cachedeco.invalidation import commits, epochs, retry_queue, transactions
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.breaker import PendingInvalidation
from cachedeco.storage.entries import new_token
from cachedeco.storage.store import Store

# Attempts to deliver an invalidation: a client whose idle connection was dead opens a new one for the second.
ATTEMPTS: Final = 2


class Invalidation(NamedTuple):
    """One token to replace."""

    store: Store
    key: str
    lifetime: float | None = None  #: seconds that the new token lives, None for ever


Recorder = Callable[[str, Sequence[Invalidation]], None]

# Swapped whole by record_with(). With a recorder, such as the outbox, invalidations can outlive this process.
_recorder: Recorder | None = None


def record_with(recorder: Recorder | None) -> None:
    """
    Pass every invalidation to a recorder from now on; None removes it.

    It takes the alias of the database and invalidations, before the transaction commits, and must deliver them.
    """
    global _recorder  # noqa: PLW0603 -- swapped whole, as said above
    _recorder = recorder


def invalidate(using: str, *invalidations: Invalidation) -> None:
    """
    Replace tokens when the transaction on a database commits; at once without a transaction.

    Sends one command for each cache. Another database may hold what has changed, by a router or `using()`. So the
    tokens are replaced once more at the commit of each other transaction that is open in this thread: a reader may
    store the old value between the two commits.
    """
    if not invalidations:
        return
    others = [each.alias for each in transactions.open_connections() if each.alias != using]
    for alias in (using, *others):
        invalidate_on(connections[alias], invalidations)


def invalidate_on(connection: BaseDatabaseWrapper, invalidations: Sequence[Invalidation]) -> None:
    """Do as `invalidate()`, for the connection that has run the statement: an alias may have several in one thread."""
    # A recorder writes on the connection of the alias: another one's commit and rollback are not those of the rows.
    if _recorder is None or connection not in transactions.connections_here():
        keys = [invalidation.key for invalidation in invalidations]
        commits.at_commit(connection, deliver, invalidations, invalidates=keys)
    else:
        _recorder(connection.alias, invalidations)


def deliver(invalidations: Sequence[Invalidation]) -> None:
    """Write new tokens; an invalidation that the cache does not acknowledge goes to the retry queue."""
    delay(try_to_deliver(invalidations))


def try_to_deliver(
    invalidations: Sequence[Invalidation], recorded: Collection[Invalidation] = ()
) -> list[Invalidation]:
    """Call `attempt()`; if it is interrupted, put all into the retry queue: any of them may not have arrived."""
    try:
        return attempt(invalidations)
    except BaseException:  # a KeyboardInterrupt, or gevent's Timeout; the store catches what the cache raises
        delay(invalidations, recorded, pauses=False)
        raise


def attempt(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """
    Write new tokens, and return the invalidations that the cache has not acknowledged.

    Sends one command for each cache. While the breaker of a cache is open nothing is sent.
    """
    return [each for chunk in _chunks(invalidations) for each in _attempt_chunk(chunk)]


def attempt_or_delete(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """Call `attempt()`, and delete a token where a cache that answers refuses the new one: it has no memory left."""
    return [each for chunk in _chunks(attempt(invalidations)) for each in _delete_chunk(chunk)]


def _chunks(invalidations: Sequence[Invalidation]) -> Iterator[Sequence[Invalidation]]:
    """Yield what one command takes: invalidations of one cache, each key once."""
    by_alias: dict[str, dict[str, Invalidation]] = defaultdict(dict)
    for invalidation in invalidations:
        by_alias[invalidation.store.alias][invalidation.key] = invalidation
    for alias, several in by_alias.items():
        yield from Store(alias).chunks(list(several.values()))


def _attempt_chunk(chunk: Sequence[Invalidation]) -> Sequence[Invalidation]:
    """Write new tokens to one cache; return the invalidations that it has not acknowledged."""
    store, left = chunk[0].store, chunk
    # One for all that end: many clients send one command for each.
    lifetime = max([each.lifetime for each in chunk if each.lifetime is not None], default=None)
    try:
        for _attempt in range(ATTEMPTS):
            # A fresh token for each attempt: the first one, if it arrives late, must not revive entries that depend
            # on it.
            written = store.set_tokens([(each.key, new_token(), each.lifetime and lifetime) for each in left])
            left = [each for each, is_written in zip(left, written, strict=True) if not is_written]
            if not left or store.is_breaker_open():
                break
    finally:  # acknowledged or not, and never before the write
        epochs.advance([each.key for each in chunk])
    return _without_acknowledged(chunk, {each.key for each in left})


def _delete_chunk(chunk: Sequence[Invalidation]) -> Sequence[Invalidation]:
    """Write tokens once more, or delete them; return the invalidations that the cache has not acknowledged."""
    store = chunk[0].store
    if store.is_breaker_open():
        return chunk
    refused = retry_queue.write_or_delete(store, {each.key: each.lifetime for each in chunk})
    return chunk if refused is None else _without_acknowledged(chunk, frozenset(refused))


def _without_acknowledged(chunk: Sequence[Invalidation], failed: Collection[str]) -> Sequence[Invalidation]:
    """Emit what the cache has acknowledged, and return the rest."""
    for each in chunk:
        if each.key not in failed:
            emit(Event("invalidated", each.store.function, each.key, each.store.alias))
    return [each for each in chunk if each.key in failed]


def delay(
    invalidations: Sequence[Invalidation], recorded: Collection[Invalidation] = (), *, pauses: bool = True
) -> None:
    """
    Put invalidations into the retry queue: this process bypasses the cache until it has delivered them.

    Args:
        invalidations: Those that the cache has not acknowledged.

        recorded: Those that the recorder delivers if this process does not.

        pauses: Whether there is a pause before that: the cache has failed, and its command was not just interrupted.
    """
    queues: dict[str, dict[str, PendingInvalidation]] = defaultdict(dict)
    for each in invalidations:
        pending = PendingInvalidation(each.store.function, each.lifetime, is_recorded=each in recorded)
        queues[each.store.alias][each.key] = pending
    for alias, queue in queues.items():
        try:
            retry_queue.enqueue(alias, queue, pauses=pauses)
        finally:  # once more: what was read from the cache until now, and was not written, may be old
            epochs.advance(queue)
