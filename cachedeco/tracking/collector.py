"""
The collector: dependency tracking of nested calls. What a nested call depended on, the call around it depends on too.

While a computation runs, each cached call inside it records its tokens here; they become part of the stamp of the new
entry. The entry contains the names of these nested tokens, and each process remembers them by the entry's key, so that
one `get_many` can ask for all. A process that meets an entry for the first time needs a second one.

A token in another cache than the entry has its alias before its name.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# Nested tokens that one entry may depend on: each hit asks for all of them.
MOST_NESTED_TOKENS: Final = 2_000


class Computation:
    """A running computation, and the dependencies of its nested calls so far."""

    __slots__ = (
        "alias",
        "collects",
        "has_ended",
        "is_auditable",
        "is_cacheable",
        "is_leading",
        "nested_tokens",
        "parent",
    )

    def __init__(self, alias: str, parent: "Computation | None", *, collects: bool, is_leading: bool) -> None:
        """Start without dependencies."""
        self.alias = alias
        self.parent = parent
        self.collects = collects
        self.is_leading = is_leading  #: followers wait for it, or for a parent: it must not wait itself
        self.has_ended = False
        self.nested_tokens: dict[str, bytes] = {}
        self.is_cacheable = True  #: False once a nested call had no stamp
        self.is_auditable = True  #: False once a nested call may return another value without an invalidation


innermost: ContextVar[Computation | None] = ContextVar("cachedeco_computation", default=None)


def _current_computation() -> Computation | None:
    """Return the innermost computation of this thread or task that has not ended: a task may outlive its parents."""
    computation = innermost.get()
    while computation is not None and computation.has_ended:
        computation = computation.parent
    return computation


@contextmanager
def collect_dependencies(alias: str, *, collects: bool, leads: bool) -> Generator[Computation]:
    """
    Collect the dependencies that nested calls record while the block runs.

    Args:
        alias: The cache of the new entry.

        collects: Whether the entry depends on nested calls at all.

        leads: Whether followers may wait for the computation.
    """
    parent = _current_computation()
    computation = Computation(alias, parent, collects=collects, is_leading=leads or is_leading())
    innermost.set(computation)
    try:
        yield computation
    finally:
        computation.has_ended = True
        # An abandoned coroutine is closed in any context, where another computation may be the innermost one.
        if innermost.get() is computation:
            innermost.set(parent)


def is_leading() -> bool:
    """Tell whether this thread or task computes as a leader: a leader never waits for another leader."""
    computation = _current_computation()
    return computation is not None and computation.is_leading


def record_dependency(alias: str, keys: Sequence[str], raw: Mapping[str, object]) -> None:
    """Record the tokens of a call in the enclosing computation: those of *keys* but the first, as *raw* has them."""
    computation = _current_computation()
    if computation is None or not computation.collects:
        return
    for key in keys[1:]:
        token_alias, _, token_key = key.rpartition(" ")
        name = token_key if (token_alias or alias) == computation.alias else f"{token_alias or alias} {token_key}"
        # The first one read: after an invalidation in between, the entry must be dead at birth.
        computation.nested_tokens.setdefault(name, raw[key])  # type: ignore[arg-type] # tokens, as the caller has tested


def mark_uncacheable() -> None:
    """Mark the enclosing computation uncacheable: this nested call has no stamp to depend on."""
    computation = _current_computation()
    if computation is not None and computation.collects:
        computation.is_cacheable = False


def mark_unauditable() -> None:
    """Mark the enclosing computation as not auditable: a nested call may change without an invalidation."""
    computation = _current_computation()
    if computation is not None:
        computation.is_auditable = False
