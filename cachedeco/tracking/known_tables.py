"""
Known tables: those that a function under AUTO has read, in any process.

Every entry of such a function depends on all of them. So one read asks for their tokens together with the entry, and
each token is older than the computation that follows. It also makes up for what one process does not see: where a value
was in a memo, no statement names its table, and the process that filled the memo has named it.

The names lie in the cache, one list for each function, which a process reads at its first call. It reads the list again
when it meets an entry with another number of tokens: another process knows more, or less. It does so, too, when it
makes the function's own token: a cache that has lost this may have lost the list. Lists are joined and never shrink, so
that all processes come to the same one, at the cost of some misses.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Final

from cachedeco.invalidation.tables import tables
from cachedeco.runtime.locks import RLock
from cachedeco.storage.store import Store

# Tables that one function may depend on under AUTO: each call asks for all of their tokens.
MOST_TABLES: Final = 100
# Dead entries until the list is read again. Two processes that have written it at the same moment, so that one has lost
# what the other had added, know as many tables, and other ones: each finds the entries of the other dead.
DEAD_ENTRIES: Final = 16


class KnownTables:
    """The tables that one function has read, and the keys of their tokens in one cache. Thread-safe."""

    def __init__(
        self, store: Store, list_key: str, key_of: Callable[[str], str], declared: frozenset[str] = frozenset()
    ) -> None:
        """
        Begin with none; *key_of* returns the whole key of a table's token.

        Tables that are *declared* by models or `rows()` are left to these.
        """
        self.declared = declared
        self.names: frozenset[str] = frozenset()
        self.keys: list[str] = []  #: of the tokens, in the order of the names. Replaced as a whole
        self.is_known = False  #: whether a computation has told what it reads, if only that this is nothing
        self._by_key: Mapping[str, str] = {}  # the names, replaced as a whole
        self.key_of = key_of
        self._store = store
        self._list_key = list_key
        self.is_loaded = False  #: whether `complete()` reads nothing
        self._dead = 0
        self._lock = RLock()

    def seen_through(self, store: Store) -> "KnownTables":
        """Return a copy, for one who only looks: it learns for itself, by another store of the same cache."""
        seen = copy(self)
        seen._store = store  # noqa: SLF001 -- of a copy
        return seen

    def complete(self, keys: list[str]) -> list[str]:
        """Return the keys of a call with those of the tables' tokens; read the list first, if this process has not."""
        if not self.is_loaded:
            self.load()
        return self.renew(keys) if self.keys else keys

    def covered_by(self, several: Iterable[Sequence[str]]) -> frozenset[str]:
        """Return the tables whose tokens are among the keys of each of several calls."""
        by_key = self._by_key
        common = set(by_key)
        for keys in several:
            common.intersection_update(keys)
        return frozenset([by_key[key] for key in common])

    def renew(self, keys: Sequence[str]) -> list[str]:
        """Return the keys of a call with the tables that are known now: more than when they were worked out."""
        tables = self.keys
        if list(keys[-len(tables) :]) == tables:
            return list(keys)
        return [*[key for key in keys if key not in tables], *tables]

    def load(self) -> bool:
        """Read the list, and join it with what this process knows; return whether that is more than before."""
        values = self._store.read([self._list_key])
        if values is None:
            return False  # the cache failed: asked again at the next call
        self.is_loaded = True
        [data] = values
        try:
            listed = frozenset(data.decode().split("\n")) if isinstance(data, bytes) and data else frozenset()
        except UnicodeDecodeError:
            listed = frozenset()
        has_grown = self._add(listed)
        if listed != self.names and self.names:
            self._write()  # lost, or written by a process that knows less
        return has_grown

    def count_dead(self) -> bool:
        """Count an entry that is dead; return whether to read the list again."""
        self._dead = (self._dead + 1) % DEAD_ENTRIES  # a lost count of another thread does no harm
        return not self._dead

    def learn(self, names: Iterable[str]) -> bool:
        """Add tables that were read for the first time; return whether they are not too many."""
        self.is_known = True
        if self._add(names):
            # Not only written: the list may have what another process has learned meanwhile.
            self.is_loaded = False  # if this fails, the next call reads and writes it
        if not self.is_loaded:
            self.load()
        return len(self.names) <= MOST_TABLES

    def knows(self, names: Iterable[str]) -> bool:
        """Tell whether `learn()` would add none of these tables."""
        return self.is_known and self._union_with(names) == self.names

    def _union_with(self, names: Iterable[str]) -> frozenset[str]:
        # Without those that are ignored by now: the entries that depend on them have another stamp, and are dead.
        return self.names.union(names) - self.declared - tables().ignored

    def _add(self, names: Iterable[str]) -> bool:
        with self._lock:  # or two threads would each lose what the other has added
            joined = self._union_with(names)
            if joined == self.names:
                return False
            self._by_key = {self.key_of(name): name for name in sorted(joined)}
            self.names, self.keys, self.is_known = joined, list(self._by_key), True
            return True

    def _write(self) -> None:
        self._store.set_each([(self._list_key, "\n".join(sorted(self.names)).encode(), None)])
