"""
Calls inside calls: what a cached call depended on, the cached call around it depends on too.

While a computation runs, each cached call inside it notes its tokens here; they become part of the stamp of the entry
to come. The names of such inner tokens stand in the entry, and each process remembers them by the entry's key, so that
one `get_many` can ask for them all. A process that meets an entry for the first time has to ask twice.

A token in another cache than the entry has its alias before its name.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# Tokens of calls inside that one entry may depend on: each hit asks for all of them.
MOST_INNER_TOKENS: Final = 2_000


class Computation:
    """A computation under way, and what the cached calls inside it depended on so far."""

    __slots__ = ("alias", "around", "collects", "inner", "is_auditable", "is_cacheable", "is_leading", "is_over")

    def __init__(self, alias: str, around: "Computation | None", *, collects: bool, is_leading: bool) -> None:
        """Begin with nothing."""
        self.alias = alias
        self.around = around
        self.collects = collects
        self.is_leading = is_leading  #: others wait for it, or for one around it: it may wait for nobody
        self.is_over = False
        self.inner: dict[str, bytes] = {}
        self.is_cacheable = True  #: False once an inner call had no stamp
        self.is_auditable = True  #: False once an inner call may give another value though nothing was invalidated


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


def record_dependency(alias: str, keys: Sequence[str], found: Mapping[str, object]) -> None:
    """Note the tokens that a call depended on, for the computation around it: *keys* but the first, with *found*."""
    computation = _current()
    if computation is None or not computation.collects:
        return
    for key in keys[1:]:
        there, _, token = key.rpartition(" ")
        name = token if (there or alias) == computation.alias else f"{there or alias} {token}"
        # The first that was seen: what was invalidated in between must find the entry dead at birth.
        computation.inner.setdefault(name, found[key])  # type: ignore[arg-type] # tokens, as the caller has tested


def mark_uncacheable() -> None:
    """Tell the computation around a call that it had no stamp: no invalidation of it could reach the entry to come."""
    computation = _current()
    if computation is not None and computation.collects:
        computation.is_cacheable = False


def mark_unauditable() -> None:
    """Tell the computation around a call that this may give another value though nothing was invalidated."""
    computation = _current()
    if computation is not None:
        computation.is_auditable = False
