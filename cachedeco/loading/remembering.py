"""
Request memory: inside `remembered()` equal calls are looked up once, and later ones are served what was read then.

What is remembered is what the cache holds, the bytes of an entry and of its tokens, by the entry's whole key; each
caller unpickles a copy of its own. It is served as long as its timeout is not over, and until this process invalidates
one of its tokens: see `invalidation.epochs`. An invalidation by another process ends it with the block, or after a
minute. A value that was computed in the block is remembered when it has been stored.

Nothing is remembered or served from here inside another computation, whose entry must not last longer for it; while
this thread waits for a commit, as the transaction may not be committed; and in a forked child, where each epoch is new.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import time
from typing import Any, Final, NamedTuple, Never

from cachedeco.invalidation import commits, epochs
from cachedeco.invalidation.epochs import Moment
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.blocks import Block, refuse_arguments
from cachedeco.storage.entries import Entry, decode_values, tokens_inside
from cachedeco.tracking.collector import innermost

# What one block remembers at most; then it forgets all of it, and begins anew.
MOST_ENTRIES: Final = 1000
MOST_BYTES: Final = 4 * 2**20
# For how long a value is served without another read: a block may last, as that of a stream of events does.
SECONDS: Final = 60.0


class Remembered(NamedTuple):
    """What was read for one call."""

    keys: Sequence[str]  #: of the call: its entry's, its tokens'
    entry_keys: Sequence[str]  #: these, and the names of nested tokens
    values: Sequence[bytes]  #: the bytes of the entry and of all its tokens
    names: bytes  #: of nested tokens, as the entry has them
    moment: Moment
    until: float  #: seconds since the epoch


Recalled = tuple[Remembered, Entry]


class StoredEntry(NamedTuple):
    """An entry that was computed and stored in the block, and not read since."""

    data: bytes
    since: object  #: what `epochs.last()` returned before its tokens were read
    until: float  #: the end of its time, as of what was read


class Memory:
    """What one block of `remembered()` has read and stored. Thread-safe: each operation on a dict is one."""

    __slots__ = ("is_open", "missed", "read", "size", "stored")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.is_open = True
        self._forget()

    def _forget(self) -> None:
        self.read: dict[str, Remembered] = {}
        self.stored: dict[str, StoredEntry] = {}
        self.missed: dict[str, object] = {}  #: for calls without an entry what `epochs.last()` returned before
        self.size = 0  # of what is remembered, in bytes; threads may lose a little of it

    def recall(self, policy: CachePolicy, keys: Sequence[str]) -> Recalled | None:
        """Return what was read for a call, and its entry, if that is fresh, and not invalidated by this process."""
        key = keys[0]
        found = self.read.get(key)
        if found is None:
            found = self._recall_stored(policy, keys)
            if found is None:
                return None
        now = time()
        if found.keys == keys and found.until > now and found.moment.is_now():
            entry = decode_values(policy.codec, key, found.values, found.names)
            if entry is not None and entry.expires > now:
                return found, entry
        self.forget(key)
        return None

    def _recall_stored(self, policy: CachePolicy, keys: Sequence[str]) -> Remembered | None:
        stored = self.stored.pop(keys[0], None)
        if stored is None:
            return None
        inside = tokens_inside(policy.codec, keys[0], stored.data)
        if len(inside.tokens) != len(keys) - 1 + len(inside.names):
            return None  # the function is known to read other tables by now
        entry_keys = [*keys, *inside.names]
        found = self.remember(keys, entry_keys, [stored.data, *inside.tokens], stored.since)
        if found is not None:
            found = self.read[keys[0]] = found._replace(until=stored.until)
        return found

    def remember(
        self, keys: Sequence[str], entry_keys: Sequence[str], values: Sequence[Any], since: object
    ) -> Remembered | None:
        """
        Remember what was read for a call; not if this process has invalidated something meanwhile.

        *since* is what `epochs.last()` returned before the read.
        """
        names = entry_keys[len(keys) :]
        moment = epochs.moment_of([*keys[1:], *[name.rpartition(" ")[2] for name in names]], since)
        size = len(values[0])
        if moment is None or size > MOST_BYTES:
            return None
        self._make_room(size)
        found = Remembered(keys, entry_keys, values, "\n".join(names).encode(), moment, time() + SECONDS)
        self.read[keys[0]] = found
        return found

    def miss(self, key: str, since: object) -> None:
        """Note when a call has found no entry: what is then computed may be remembered."""
        if len(self.missed) < MOST_ENTRIES:
            self.missed[key] = since

    def note_stored(self, key: str, data: bytes, *, is_stored: bool) -> None:
        """Forget what was read before an entry was sent to the cache; remember this one if it was acknowledged."""
        since = self.missed.pop(key, None)
        self.forget(key)
        if is_stored and self.is_open and since is not None and len(data) <= MOST_BYTES:
            self._make_room(len(data))
            self.stored[key] = StoredEntry(data, since, time() + SECONDS)

    def forget(self, key: str) -> None:
        """Forget an entry: the next call reads it again."""
        self.read.pop(key, None)
        self.stored.pop(key, None)

    def close(self) -> None:
        """End: what runs on with this context remembers nothing any more."""
        self.is_open = False
        self._forget()

    def _make_room(self, size: int) -> None:
        if len(self.read) + len(self.stored) >= MOST_ENTRIES or self.size + size > MOST_BYTES:
            self._forget()
        self.size += size


current: ContextVar[Memory | None] = ContextVar("cachedeco_memory", default=None)


def memory_in_use() -> Memory | None:
    """Return the memory of the block, if a call may be served from it, and be remembered there."""
    memory = current.get()
    return memory if memory and memory.is_open and innermost.get() is None and not commits.has_pending() else None


def remembered(*given: Never) -> Block:
    """
    Look equal calls up once, until the block ends: request memory (near cache, L1).

    ::

        with remembered():
            club_classes(7)   # one command to the cache
            club_classes(7)   # none, and a copy of its own

    A value is served from memory until its timeout, at most for a minute, and until this process invalidates it; one
    that another process invalidates may be served until the block ends. At most 1000 values and 4 MB are remembered.
    Inside another block this one does nothing. Tasks and threads that carry the context share the memory; when the
    block has ended they remember nothing more. It also decorates a function, sync or async: each call is a block.

    Raises:
        TypeError: It stands above a function without parentheses.
    """
    refuse_arguments("remembered", given)
    return Block(_remembering)


@contextmanager
def _remembering() -> Generator[None]:
    memory = current.get()
    if memory is not None and memory.is_open:
        yield
        return
    memory = Memory()
    try:
        current.set(memory)
        yield
    finally:
        memory.close()
        if current.get() is memory:  # a coroutine may be closed in another context
            current.set(None)
