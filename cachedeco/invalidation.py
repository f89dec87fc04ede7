"""To invalidate is to write a new token: when the transaction commits, and until the cache says that it has it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from os import urandom
from typing import Final, NamedTuple

from cachedeco import transactions
from cachedeco.entries import TOKEN_BYTES
from cachedeco.events import Event, emit
from cachedeco.store import Store

# Attempts to deliver an invalidation: a client that found its idle connection dead opens a new one for the second.
ATTEMPTS: Final = 2


class Invalidation(NamedTuple):
    """One token to be replaced."""

    store: Store
    key: str
    lifetime: float | None = None  #: seconds that the new token is to live, None for ever


def invalidate(using: str, invalidation: Invalidation) -> None:
    """Replace a token when the transaction open on a database commits; at once where there is none."""
    transactions.at_commit(using, deliver, invalidation, touches=(invalidation.key,))


def invalidate_each(using: str, invalidations: Iterable[Invalidation]) -> None:
    """Replace several tokens together: otherwise as `invalidate()`."""
    every = tuple(invalidations)
    if every:
        transactions.at_commit(using, deliver_each, every, touches=[each.key for each in every])


def deliver_each(together: Sequence[Sequence[Invalidation]]) -> None:
    """Write new tokens as `deliver()` does."""
    deliver([each for every in together for each in every])


def deliver(invalidations: Sequence[Invalidation]) -> None:
    """
    Write new tokens: one command for each cache, and one more where some tokens live for ever and some do not.

    What is not acknowledged in the end is an event, "lost".
    """
    together: dict[tuple[str, bool], dict[str, Invalidation]] = defaultdict(dict)
    for each in invalidations:
        together[each.store.alias, each.lifetime is None][each.key] = each
    for tokens in together.values():
        for some in next(iter(tokens.values())).store.chunks(list(tokens)):
            _deliver_to_one({key: tokens[key] for key in some})


def _deliver_to_one(tokens: Mapping[str, Invalidation]) -> None:
    store = next(iter(tokens.values())).store
    lifetime = max((each.lifetime for each in tokens.values() if each.lifetime is not None), default=None)
    left = list(tokens)
    for _attempt in range(ATTEMPTS):
        # A fresh token for every attempt: a first one that arrives late must not bring back what it stood for.
        left = list(store.set_many({key: urandom(TOKEN_BYTES) for key in left}, lifetime))
        if not left:
            break
    for key, each in tokens.items():
        emit(Event("lost" if key in left else "invalidated", each.store.function, key, each.store.alias))
