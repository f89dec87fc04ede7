"""`Load`: calls of one function that have no fresh entry, and that one call of the function computes."""

from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Protocol

from cachedeco.loading.found import Found
from cachedeco.loading.policy import CachePolicy

Misses = Mapping[Hashable, Found]  # by id, in the caller's order


class Reinvocation(Protocol):
    """A way to repeat a call in another thread or process, to refresh its entries."""

    def resolve_keys(self, ids: Sequence[Any], /) -> list[list[str]]:
        """Return the keys of the entries of these ids, and of their tokens, as they are in this thread."""
        ...

    def enqueue(self, ids: Sequence[Any], /) -> None:
        """Enqueue a task that refreshes the entries of these ids."""
        ...


class Load(NamedTuple):
    """Calls of one function that have no fresh entry, and that one call of the function computes."""

    policy: CachePolicy
    misses: Misses  #: one, of any id, if the function takes no ids
    takes_ids: bool = False
    unstamped: AbstractSet[Hashable] = frozenset()  #: ids whose entries get no stamp, and so are not stored
    reinvocation: Reinvocation | None = None
    arguments: Sequence[object] = ()  #: of the call, in any nesting: rows among them were read before

    def only(self, ids: AbstractSet[Hashable]) -> "Load":
        """Return the load of some of its ids."""
        return self.with_misses({each: found for each, found in self.misses.items() if each in ids})

    def with_misses(self, misses: Misses) -> "Load":
        """Return the load of other misses."""
        return Load(self.policy, misses, *self[2:])  # faster than _replace()
