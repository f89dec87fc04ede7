"""What a leader's computation gives its followers, and the computation around it."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from math import inf
from typing import NamedTuple

from cachedeco.loading.found import Found
from cachedeco.loading.policy import CachePolicy
from cachedeco.storage.entries import Stamp
from cachedeco.tracking import collector
from cachedeco.tracking.collector import Use


class FlightResult(NamedTuple):
    """The result of a leader's computation for one id, for its followers."""

    stamp: Stamp | None = None  #: the call's own tokens as read before the computation; None if they could not be read
    nested_tokens: Mapping[str, bytes] = {}  #: the tokens of nested calls, by name
    serialized: bytes | None = None  #: the value; None if it can't be serialized, and so not be shared
    seconds: float = 0.0
    error: Exception | None = None  #: what the function raised
    computed_with: AbstractSet[str] = frozenset()  #: the keys of all ids that the function was called with
    is_cacheable: bool = True  #: False if a nested call bypassed the cache
    ends: float = inf  #: when the value ends, its stale window counted: seconds since the epoch
    problem: str = ""  #: why a computation that has used the value can't be stored


Results = Mapping[str, FlightResult]  # by the entry's key; a key without one must be looked up again


def propagate_dependencies(policy: CachePolicy, found: Found, result: FlightResult) -> None:
    """Record in the enclosing computation what a result depends on, or why it has nothing to depend on."""
    if collector.innermost.get() is None:  # nearly always
        return
    if result.stamp is None or result.problem:
        collector.mark_uncacheable(result.problem or collector.BYPASSED)
        return
    # Of a token that was read twice, the older one: an invalidation between the two may not be in the value.
    tokens = {**result.nested_tokens, **dict(zip(found.keys[1:], result.stamp, strict=True))}
    use = Use(policy.function, found.variation, result.ends)
    collector.record_dependency(policy.store.alias, [*found.keys, *result.nested_tokens], tokens, use)
