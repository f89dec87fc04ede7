"""
To invalidate is to write a new token: when the transaction commits, and until the cache says that it has it.

What the cache does not acknowledge is noted in the journal, and delivered before this process trusts the cache again.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from os import urandom
from typing import Final, NamedTuple

from cachedeco.invalidation import retry_queue, transactions
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.breaker import PendingInvalidation
from cachedeco.storage.entries import TOKEN_BYTES
from cachedeco.storage.store import Store

# Attempts to deliver an invalidation: a client that found its idle connection dead opens a new one for the second.
ATTEMPTS: Final = 2


class Invalidation(NamedTuple):
    """One token to be replaced."""

    store: Store
    key: str
    lifetime: float | None = None  #: seconds that the new token is to live, None for ever


Recorder = Callable[[str, Sequence[Invalidation]], None]

# Swapped whole by record_with(): the one door through which invalidations can be made to outlive this process.
_recorder: Recorder | None = None


def record_with(recorder: Recorder | None) -> None:
    """
    Hand every invalidation to a recorder from now on; None ends that.

    It takes the alias of the database and invalidations, before the transaction commits, and sees to it that they are
    delivered.
    """
    global _recorder  # noqa: PLW0603 -- swapped whole, as said above
    _recorder = recorder


def invalidate(using: str, *invalidations: Invalidation) -> None:
    """
    Replace tokens together when the transaction open on a database commits; at once where there is none.

    One command for each cache.
    """
    if not invalidations:
        return
    if _recorder is None:
        transactions.at_commit(using, deliver, invalidations, invalidates=[each.key for each in invalidations])
    else:
        _recorder(using, invalidations)


def deliver(invalidations: Sequence[Invalidation]) -> None:
    """Write new tokens; an invalidation that the cache does not acknowledge goes to the retry queue."""
    delay(try_to_deliver(invalidations))


def try_to_deliver(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """Call `attempt()`; if it is interrupted, put all into the retry queue: any of them may not have arrived."""
    try:
        return attempt(invalidations)
    except BaseException:  # a KeyboardInterrupt, or gevent's Timeout; what the cache raises is caught by the store
        delay(invalidations)
        raise


def attempt(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """
    Write new tokens, and return those invalidations that were not acknowledged.

    One command for each cache, and one more where some tokens live for ever and some do not. While the breaker of a
    cache is open nothing is sent.
    """
    together: dict[tuple[str, bool], dict[str, Invalidation]] = defaultdict(dict)
    for each in invalidations:
        together[each.store.alias, each.lifetime is None][each.key] = each
    return [
        each
        for tokens in together.values()
        for some in next(iter(tokens.values())).store.chunks(list(tokens))
        for each in _attempted_at_one({key: tokens[key] for key in some})
    ]


def _attempted_at_one(tokens: Mapping[str, Invalidation]) -> list[Invalidation]:
    store = next(iter(tokens.values())).store
    lifetime = max((each.lifetime for each in tokens.values() if each.lifetime is not None), default=None)
    left = list(tokens)
    for _attempt in range(ATTEMPTS):
        # A fresh token for every attempt: a first one that arrives late must not bring back what it stood for.
        left = list(store.set_tokens({key: urandom(TOKEN_BYTES) for key in left}, lifetime))
        if not left or store.is_bypassed():
            break
    for key in [key for key in tokens if key not in left]:
        emit(Event("invalidated", tokens[key].store.function, key, store.alias))
    return [tokens[key] for key in left]


def delay(left: Sequence[Invalidation]) -> None:
    """Put invalidations into the retry queue: this process bypasses the cache until it has delivered them."""
    pendings: dict[str, dict[str, PendingInvalidation]] = defaultdict(dict)
    for each in left:
        pendings[each.store.alias][each.key] = PendingInvalidation(each.store.function, each.lifetime)
    for alias, queue in pendings.items():
        retry_queue.enqueue(alias, queue)
