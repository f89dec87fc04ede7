"""
Epochs: what this process has invalidated itself since a moment, for values that are remembered between two reads.

Each token has an epoch, an object that is replaced by a new one whenever this process has invalidated the token; of
many tokens several share one. A value that was read from a cache may be served again for as long as the epochs of all
its tokens are those that they were *before* the read. The epoch is replaced *after* the cache has been written, so a
reader that has got the old value finds another epoch: either it has read the old epoch, or it reads after the write.
Objects and no counters: a count that two threads raise at once may come back to a value that it had.
"""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Final, NamedTuple

# Tokens whose hashes end alike share an epoch: one in 4096 invalidations ends a value for nothing.
SLOTS: Final = 4096

# One object at first; then replaced one by one, `_last` before them.
_epochs: list[object] = [object()] * SLOTS
_last: object = object()


class Moment(NamedTuple):
    """The epochs of some tokens at one moment."""

    of: Callable[[list[object]], tuple[Any, ...]]
    epochs: tuple[Any, ...]

    def is_now(self) -> bool:
        """Tell whether this process has invalidated none of the tokens since."""
        return self.of(_epochs) == self.epochs


def last() -> object:
    """Return an object that is another one after each invalidation of this process. Ask for it before a read."""
    return _last


def moment_of(keys: Iterable[str], since: object) -> Moment | None:
    """
    Return the epochs of two tokens or more as they were when `last()` returned *since*.

    It returns None if there was an invalidation since.
    """
    of = itemgetter(*[hash(key) % SLOTS for key in keys])
    epochs = of(_epochs)
    # After these were read: an invalidation that comes later replaces them, and one that came sooner is seen here.
    return Moment(of, epochs) if _last is since else None


def advance(keys: Iterable[str]) -> None:
    """Note that this process has invalidated tokens. Call it when the cache has been written."""
    global _last  # noqa: PLW0603 -- replaced whole
    _last = object()  # first, as moment_of() needs it
    for key in keys:
        _epochs[hash(key) % SLOTS] = object()


def renew() -> None:
    """Begin anew: nothing that was remembered before is served."""
    global _last  # noqa: PLW0603 -- replaced whole
    _last = object()
    _epochs[:] = [object()] * SLOTS
