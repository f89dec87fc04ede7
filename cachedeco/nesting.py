"""
Calls inside calls: what a cached call depended on, the cached call around it depends on too.

While a computation runs, each cached call inside it notes its tokens here; they become part of the stamp of the entry
to come. The names of such inner tokens stand in the entry, and each process remembers them by the entry's key, so that
one `get_many` can ask for them all. A process that meets an entry for the first time has to ask twice.

A token in another cache than the entry has its alias before its name.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Final

from django.core.cache import caches

from cachedeco.forks import in_each_child
from cachedeco.store import Store

# Entries whose inner names are remembered: some hundred bytes each.
LONGEST_MEMORY: Final = 10_000
# Tokens of calls inside that one entry may depend on: each hit asks for all of them.
MOST_INNER_TOKENS: Final = 2_000


class Computation:
    """A computation under way, and what the cached calls inside it depended on so far."""

    __slots__ = ("alias", "around", "collects", "inner", "is_certain", "is_leading", "is_over", "is_whole")

    def __init__(self, alias: str, around: "Computation | None", *, collects: bool, is_leading: bool) -> None:
        """Begin with nothing."""
        self.alias = alias
        self.around = around
        self.collects = collects
        self.is_leading = is_leading  #: others wait for it, or for one around it: it may wait for nobody
        self.is_over = False
        self.inner: dict[str, bytes] = {}
        self.is_whole = True  #: False once an inner call had no stamp
        self.is_certain = True  #: False once an inner call may give another value though nothing was invalidated


innermost: ContextVar[Computation | None] = ContextVar("cachedeco_computation", default=None)


def _current() -> Computation | None:
    """Return the computation that this thread or task is inside of: a task may outlive those that it was begun in."""
    computation = innermost.get()
    while computation is not None and computation.is_over:
        computation = computation.around
    return computation


@contextmanager
def computing(alias: str, *, collects: bool, leads: bool) -> Generator[Computation]:
    """
    Collect what is noted while the block runs.

    Args:
        alias: The cache of the entry to come.

        collects: Whether the entry is to depend on the calls inside at all.

        leads: Whether others may wait for the computation.
    """
    around = _current()
    computation = Computation(alias, around, collects=collects, is_leading=leads or is_leading())
    innermost.set(computation)
    try:
        yield computation
    finally:
        computation.is_over = True
        # A coroutine that nobody awaits any more is closed in whatever context, and there another one may be current.
        if innermost.get() is computation:
            innermost.set(around)


def is_leading() -> bool:
    """Tell whether anybody may be waiting for what this thread or task computes: then it must wait for nobody."""
    computation = _current()
    return computation is not None and computation.is_leading


def note(alias: str, keys: Sequence[str], found: Mapping[str, object]) -> None:
    """Note the tokens that a call depended on, for the computation around it: *keys* but the first, with *found*."""
    computation = _current()
    if computation is None or not computation.collects:
        return
    for key in keys[1:]:
        there, _, token = key.rpartition(" ")
        name = token if (there or alias) == computation.alias else f"{there or alias} {token}"
        # The first that was seen: what was invalidated in between must find the entry dead at birth.
        computation.inner.setdefault(name, found[key])  # type: ignore[arg-type] # tokens, as the caller has tested


def spoil() -> None:
    """Tell the computation around a call that it had no stamp: no invalidation of it could reach the entry to come."""
    computation = _current()
    if computation is not None and computation.collects:
        computation.is_whole = False


def doubt() -> None:
    """Tell the computation around a call that this may give another value though nothing was invalidated."""
    computation = _current()
    if computation is not None:
        computation.is_certain = False


# --- what is remembered of entries ---


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


@in_each_child
def _renew_lock() -> None:
    """Give a forked child a lock of its own: another thread may have held ours, and is not there to release it."""
    global _lock  # noqa: PLW0603 -- only here
    _lock = Lock()


def asked(store: Store, keys: Sequence[str]) -> dict[str, object] | None:
    """Return what is there of keys with and without an alias before them; None where a cache could not be asked."""
    apart: dict[str, list[str]] = {}
    for key in keys:
        apart.setdefault(key.rpartition(" ")[0] or store.alias, []).append(key)
    found: dict[str, object] = {}
    for alias, names in apart.items():
        if alias not in caches.settings:
            continue  # as the name of a cache, or in an entry that somebody else has made up
        by_key = {name.rpartition(" ")[2]: name for name in names}
        there = _gathered(Store(alias, store.function), list(by_key))
        if there is None:
            return None
        found |= {name: there[key] for key, name in by_key.items() if key in there}
    return found


def _gathered(store: Store, keys: Sequence[str]) -> dict[str, object] | None:
    """Return what is there of any number of keys, by as many commands as that takes."""
    found: dict[str, object] = {}
    for some in store.chunks(keys):
        there = store.get_many(some)
        if there is None:
            return None
        found |= there
    return found
