"""The names of the tokens that nested calls of an entry depended on, remembered by the entry's key."""

from collections.abc import Iterable
from threading import Lock
from typing import Final

# Entries whose inner names are remembered: some hundred bytes each.
LONGEST_MEMORY: Final = 10_000


# By the entry's key. Empty nearly always, and then a hit need not look.
remembered: dict[str, tuple[str, ...]] = {}


_lock = Lock()


def remember(key: str, names: Iterable[str]) -> None:
    """Remember the inner names of an entry for the next call; forget them where there are none."""
    names = tuple(names)
    if names == remembered.get(key, ()):
        return  # as nearly always, and without the lock
    # Under a lock: two threads would drop the same oldest one.
    with _lock:
        remembered.pop(key, None)
        if names:
            remembered[key] = names
        if len(remembered) > LONGEST_MEMORY:
            del remembered[next(iter(remembered))]
