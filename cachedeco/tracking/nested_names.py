"""
Names of nested tokens that this process knows, so that one command asks for all that an entry may depend on.

An entry names its nested tokens itself. Two memories say which names to ask for before it is read: that of the entry,
and that of its function for entries that this process meets for the first time. Asked for is what is known; compared is
what the entry names, so a wrong memory costs a command, or some bytes, and never a wrong value.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from cachedeco.runtime.locks import RLock

Names = tuple[str, ...]

# Entries whose names are remembered: some hundred bytes each.
MOST_ENTRIES: Final = 10_000
# Names of one function: a few microseconds of a command, which most entries of it then need in vain at worst.
MOST_NAMES: Final = 64


class FunctionNames(NamedTuple):
    """What is known of the entries of one function."""

    names: Names  #: in the order in which they were met
    varies: bool = False  #: whether its entries have named too many: only names that they share are remembered


# Nearly always empty, and then a hit reads nothing else.
names_by_function: dict[str, FunctionNames] = {}
# By the entry's key: where they are others than those of its function.
names_by_key: dict[str, Names] = {}
_lock = RLock()

_NONE: Final = FunctionNames(())


def known_names(function: str) -> Names:
    """Return the names that entries of a function are known to need: at most `MOST_NAMES`."""
    return names_by_function.get(function, _NONE).names


def names_to_ask(function: str, key: str) -> Names:
    """Return the names to ask for together with an entry: its own where they are known, else those of its function."""
    names = names_by_key.get(key)
    return known_names(function) if names is None else names


def remember(function: str, key: str, names: Iterable[str]) -> None:
    """Remember the names of an entry's nested tokens."""
    names = tuple(names)
    if names == names_to_ask(function, key):
        return  # the usual case, without the lock
    # Under a lock, or two threads would evict the same oldest entry, or lose the names of one of them.
    with _lock:
        known = names_by_function.get(function, _NONE)
        if not known.varies and not set(names) <= set(known.names):
            known = names_by_function[function] = _union(known.names, names)
        names_by_key.pop(key, None)
        if names != known.names:
            names_by_key[key] = names
        if len(names_by_key) > MOST_ENTRIES:
            names_by_key.pop(next(iter(names_by_key)), None)  # a signal's handler may have been quicker


def forget() -> None:
    """Forget all names, as a process that has just begun."""
    with _lock:
        names_by_function.clear()
        names_by_key.clear()


def _union(known: Names, names: Names) -> FunctionNames:
    """Return the names of a function that has an entry with these, too: those of both, or what the two share."""
    union = tuple(dict.fromkeys((*known, *names)))
    if len(union) <= MOST_NAMES:
        return FunctionNames(union)
    return FunctionNames(tuple([name for name in known if name in names]), varies=True)
