"""Remember the names of each entry's nested tokens, by the entry's key: the next call asks for all with one command."""

from collections.abc import Iterable
from threading import Lock
from typing import Final

# Entries whose names are remembered: some hundred bytes each.
MOST_ENTRIES: Final = 10_000

# Names by the entry's key. Nearly always empty, and then a hit reads nothing else.
names_by_key: dict[str, tuple[str, ...]] = {}
_lock = Lock()


def remember(key: str, names: Iterable[str]) -> None:
    """Remember the names of an entry's nested tokens; forget them if there are none."""
    names = tuple(names)
    if names == names_by_key.get(key, ()):
        return  # the usual case, without the lock
    # Under a lock, or two threads would evict the same oldest entry.
    with _lock:
        names_by_key.pop(key, None)
        if names:
            names_by_key[key] = names
        if len(names_by_key) > MOST_ENTRIES:
            del names_by_key[next(iter(names_by_key))]
