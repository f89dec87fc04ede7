"""To invalidate is to write a new token: when the transaction commits, and until the cache says that it has it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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


Recorder = Callable[[str, Invalidation], None]

# Swapped whole by record_with(): the one door through which invalidations can be made to outlive this process.
_recorder: Recorder | None = None


def record_with(recorder: Recorder | None) -> None:
    """
    Hand every invalidation to a recorder from now on; None ends that.

    It takes the alias of the database and the invalidation, before the transaction commits, and sees to it that the
    invalidation is delivered.
    """
    global _recorder  # noqa: PLW0603 -- swapped whole, as said above
    _recorder = recorder


def invalidate(using: str, invalidation: Invalidation) -> None:
    """Replace a token when the transaction open on a database commits; at once where there is none."""
    if _recorder is None:
        transactions.at_commit(using, deliver, invalidation, touches=(invalidation.key,))
    else:
        _recorder(using, invalidation)


def deliver(invalidations: Sequence[Invalidation]) -> list[Invalidation]:
    """
    Write new tokens: one command for each cache, and one more where some tokens live for ever and some do not.

    Return what is not acknowledged in the end: each is an event, "lost".
    """
    together: dict[tuple[str, bool], dict[str, Invalidation]] = defaultdict(dict)
    for each in invalidations:
        together[each.store.alias, each.lifetime is None][each.key] = each
    return [lost for tokens in together.values() for lost in _deliver_to_one(tokens)]


def _deliver_to_one(tokens: Mapping[str, Invalidation]) -> list[Invalidation]:
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
    return [tokens[key] for key in left]
