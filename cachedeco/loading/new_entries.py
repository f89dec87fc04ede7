"""What a computation has given becomes new entries, and results for followers."""

from collections.abc import Hashable, Mapping
from math import ceil
from time import time
from typing import Any, NamedTuple

from cachedeco.loading.effects import Outcome
from cachedeco.loading.found import Found
from cachedeco.loading.load import Load
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.results import FlightResult, Results
from cachedeco.loading.stamping import Stamps
from cachedeco.loading.tables import with_tables
from cachedeco.loading.writing import NOT_PREPARED, UNRESTORABLE, PendingEntry, Prepared, new_entry
from cachedeco.runtime.interrupts import is_interrupt
from cachedeco.storage.entries import MOST_TOKENS, Stamp, has_value
from cachedeco.tracking import collector
from cachedeco.tracking.collector import Dependencies


class Computed(NamedTuple):
    """What one run of the user's function has given."""

    outcome: Outcome[Values]
    prepared: Mapping[Hashable, Prepared]  #: the values, serialized, by id; empty if none may be stored or shared
    dependencies: Dependencies
    seconds: float


def new_entries(load: Load, stamps: Stamps, computed: Computed) -> tuple[list[PendingEntry], Results]:
    """Return the entries of the values that were computed, and the results for followers."""
    policy, dependencies = load.policy, computed.dependencies
    # An equal share of the cost for each entry: a hit saves no more than that.
    seconds = computed.seconds / len(load.misses)
    statements = ceil(dependencies.statements / len(load.misses))
    entries: list[PendingEntry] = []
    results: dict[str, FlightResult] = {}
    for each, found in load.misses.items():
        key, ready = found.key, computed.prepared.get(each, NOT_PREPARED)
        entry, timeout = new_entry(policy, ready, dependencies.ends, seconds, statements)
        stamp, problem = stamp_if_cacheable(policy, found, stamps[each], dependencies)
        problem = problem or (ready.problem and _problem_inside(policy, ready.problem))
        stamp, nested_tokens = with_tables(policy, found, stamp, dependencies.tokens)
        replaced: Any = (found.raw or {}).get(key)
        unchanged = replaced is not None and has_value(policy.codec, key, replaced, ready.serialized)
        entries.append(PendingEntry(key, stamp, nested_tokens, ready, entry, timeout, unchanged))
        results[key] = FlightResult(
            stamps[each],
            dependencies.tokens,
            ready.serialized,
            seconds,
            is_cacheable=not dependencies.problem,
            ends=entry.expires + entry.stale,
            problem=problem,
        )
    return entries, results


def stamp_if_cacheable(
    policy: CachePolicy, found: Found, stamp: Stamp | None, dependencies: Dependencies
) -> tuple[Stamp | None, str]:
    """
    Return the stamp, or None and what to tell the enclosing computation if nested calls make the result uncacheable.

    Why is an event, unless there was no stamp.
    """
    tokens, is_large = len(dependencies.tokens), False
    problem = dependencies.problem or collector.find_problem(dependencies, found.variation, time())
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
        policy.emit("error" if is_large and policy.advice.is_first(problem) else "unstored", found.key, reason=problem)
    return None, dependencies.problem or _problem_inside(policy, problem)


def _problem_inside(policy: CachePolicy, problem: str) -> str:
    return f"{policy.function}() inside it is not stored: {problem}"


def unreadable_keys(load: Load, prepared: Mapping[Hashable, Prepared]) -> list[str]:
    """Return the keys of entries that can't be read and are not replaced, which each call would try to read."""
    several = [load.misses[each] for each, ready in prepared.items() if ready.problem == UNRESTORABLE]
    return [found.key for found in several if found.entry is None and found.key in (found.raw or ())]


def results_of_error(load: Load, stamps: Stamps, computed: Computed, error: BaseException) -> Results:
    """Return the results of a computation that raised; none after an interrupt, which is no result."""
    if not isinstance(error, Exception) or is_interrupt(error):
        return {}
    dependencies = computed.dependencies
    keys, is_cacheable = frozenset(found.key for found in load.misses.values()), not dependencies.problem
    return {
        found.key: FlightResult(
            stamps[each],
            dependencies.tokens,
            None,
            computed.seconds,
            error,
            keys,
            is_cacheable,
            dependencies.ends,
            dependencies.problem or collector.find_problem(dependencies, found.variation, time()),
        )
        for each, found in load.misses.items()
    }
