"""Look-ups in the request's memory: which calls it has, and which are left to read and to remember."""

from collections.abc import Iterable, Sequence
from time import time
from typing import Any

from cachedeco.invalidation import epochs
from cachedeco.loading.found import CallKeys, Found, Wanted
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.remembering import Memory, memory_in_use
from cachedeco.storage.entries import new_tuple


class Recalling:
    """Calls of users: what the request's memory has of them, if there is one, and what is left to look up."""

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        """Ask the memory, if there is one that can be used."""
        self._memory = memory_in_use()
        self.left = wanted
        if self._memory is not None:
            self._since = epochs.last()  # before the read
            self._recalled = [recall(self._memory, *each) for each in wanted]
            self.left = [each for each, found in zip(wanted, self._recalled, strict=True) if found is None]

    def join(self, read: list[Found]) -> list[Found]:
        """Remember what was read of the calls that were left; return what was found, in the order of the calls."""
        if self._memory is None:
            return read
        _remember_each(self._memory, read, self._since)
        rest = iter(read)
        return [next(rest) if found is None else found for found in self._recalled]


def recall(memory: Memory, policy: CachePolicy, keys: CallKeys) -> Found | None:
    """Return what the memory has for a call, as a look-up does: a plain hit without the values that were read."""
    recalled = memory.recall(policy, keys)
    if recalled is None:
        return None
    read, entry = recalled
    raw = dict(zip(read.entry_keys, read.values, strict=True)) if policy.inspects_hits else None
    return new_tuple(Found, (keys, raw, read.entry_keys, entry))


def remember(memory: Memory, found: Found, values: Any, since: object) -> None:
    """Remember what was found of one call; *values* are those that were read, which a plain hit is without."""
    if found.entry is not None and found.raw is None:
        memory.remember(found.keys, found.entry_keys, values, since)
    else:
        _remember_each(memory, [found], since)


def _remember_each(memory: Memory, results: Iterable[Found], since: object) -> None:
    """Remember the entries that were found in the cache, and which calls have found none."""
    now = time()
    for keys, raw, entry_keys, entry in results:
        if entry is None:
            memory.miss(keys[0], since)
        elif entry.expires > now and raw is not None:
            memory.remember(keys, entry_keys, [raw[key] for key in entry_keys], since)
