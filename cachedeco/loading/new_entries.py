"""What a computation has given becomes new entries, and results for followers."""

from math import ceil
from typing import Any

from cachedeco.loading.load import FlightResult, Load, Miss
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.tables import with_tables
from cachedeco.loading.writing import UNRESTORABLE, encode, new_entry
from cachedeco.storage.entries import MOST_TOKENS, Stamp, has_value
from cachedeco.tracking import collector
from cachedeco.tracking.collector import Dependencies


def new_entries(load: Load, dependencies: Dependencies, seconds: float) -> None:
    """Make the new entries of the values that were computed, and the results for followers."""
    policy = load.policy
    # An equal share of the cost for each entry: a hit saves no more than that.
    seconds /= len(load.misses)
    statements = ceil(dependencies.statements / len(load.misses))
    for miss in load.misses:
        ready = miss.prepared
        entry, miss.timeout = new_entry(policy, ready, dependencies.ends, seconds, statements)
        stamp, problem = stamp_if_cacheable(policy, miss, dependencies)
        problem = problem or (ready.problem and _problem_inside(policy, ready.problem))
        replaced: Any = (miss.found.raw or {}).get(miss.key)
        miss.is_unchanged = replaced is not None and has_value(policy.codec, miss.key, replaced, ready.serialized)
        encode(policy, miss, entry, *with_tables(policy, miss.found, stamp, dependencies.tokens))
        miss.result = FlightResult(
            miss.stamp,
            dependencies.tokens,
            ready.serialized,
            seconds,
            is_cacheable=not dependencies.problem,
            ends=entry.expires + entry.stale,
            problem=problem,
        )


def stamp_if_cacheable(policy: CachePolicy, miss: Miss, dependencies: Dependencies) -> tuple[Stamp | None, str]:
    """
    Return the stamp, or None and what to tell the enclosing computation if nested calls make the result uncacheable.

    Why is an event, unless there was no stamp.
    """
    stamp, tokens, is_large = miss.stamp, len(dependencies.tokens), False
    problem = dependencies.problem or collector.find_problem(dependencies, miss.found.variation)
    if not problem and tokens > collector.MOST_NESTED_TOKENS:
        most = collector.MOST_NESTED_TOKENS
        problem = (
            f"The calls inside it depend on more than {most} tokens, so it is not stored; nested=False ignores them"
        )
        is_large = True
    elif not problem and len(stamp or ()) + tokens > MOST_TOKENS:
        problem, is_large = f"It depends on more than {MOST_TOKENS} tokens, so it is not stored", True
    if not problem:
        return stamp, ""
    if stamp is not None:
        # A warning, once, where it is too large: a function that was stored until its data grew.
        policy.emit_unstored(miss.key, problem, fault=problem if is_large else "")
        if problem == collector.find_unshared(dependencies, miss.found.variation):
            policy.advice.give(f"Values are not stored where {problem}")
    return None, dependencies.problem or _problem_inside(policy, problem)


def _problem_inside(policy: CachePolicy, problem: str) -> str:
    return f"{policy.function}() inside it is not stored: {problem}"


def unreadable_keys(load: Load) -> list[str]:
    """Return the keys of entries that can't be read and are not replaced, which each call would try to read."""
    return [
        miss.key
        for miss in load.misses
        if miss.prepared.problem == UNRESTORABLE and miss.found.entry is None and miss.key in (miss.found.raw or ())
    ]


def add_results_of_error(load: Load, dependencies: Dependencies, seconds: float, error: Exception) -> None:
    """Make the results of a computation that raised."""
    keys, is_cacheable = frozenset(miss.key for miss in load.misses), not dependencies.problem
    for miss in load.misses:
        miss.result = FlightResult(
            miss.stamp,
            dependencies.tokens,
            None,
            seconds,
            error,
            keys,
            is_cacheable,
            dependencies.ends,
            dependencies.problem or collector.find_problem(dependencies, miss.found.variation),
        )
