"""Run the user's function: time it, collect nested dependencies, store the results, serve stale on error."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from math import ceil, inf
from time import perf_counter, time
from typing import Any, Final, NamedTuple, cast

from cachedeco.invalidation import transactions
from cachedeco.loading.effects import CALL_USER, Anywhere, CallUser, EffectFlow, Err, Flow, Ok, Outcome
from cachedeco.loading.found import Found, record_found
from cachedeco.loading.load import Load, Misses
from cachedeco.loading.lookup import look_up
from cachedeco.loading.materializing import Values, materialize, outcome_of, without_absent
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import bypass_in_transaction
from cachedeco.loading.stamping import Stamps, build_stamps
from cachedeco.loading.tables import begin_reading, end_reading, reads_of, with_tables
from cachedeco.loading.writing import (
    NOT_PREPARED,
    UNRESTORABLE,
    OnFailure,
    PendingEntry,
    Prepared,
    emit_problem,
    lifetime_of,
    prepare,
    store_entries,
    store_flow,
)
from cachedeco.runtime import hooks
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit, emit_hits
from cachedeco.runtime.interrupts import Passes, is_interrupt
from cachedeco.storage.entries import MOST_TOKENS, Stamp, has_value
from cachedeco.storage.refusals import Origin, RefusedValueError
from cachedeco.storage.serializers import Raised
from cachedeco.storage.store import Item
from cachedeco.tracking import collector, watcher
from cachedeco.tracking.collector import Computation, Dependencies, Use

# Values that an event loop serializes: it does nothing else meanwhile.
MOST_ON_LOOP: Final = 100
NOTHING_KNOWN: Final = (
    "under AUTO, set() needs the tables that the function reads, and no computation of it is known yet: call it first, "
    "name models in depends_on=, or say depends_on=() if its value may be old for its timeout"
)


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


def compute(
    load: Load,
    stamps: Stamps,
    *,
    leads: bool = False,
    on_failure: OnFailure = None,
    marks: Sequence[Item] = (),
) -> EffectFlow[tuple[Outcome[Values], Results]]:
    """
    Compute and store; return the caller's outcome, and the results for followers.

    Args:
        load: What to compute.

        stamps: Those of the new entries, by id in the order of the load; None if none is stored.

        leads: Whether followers may wait for the results.

        on_failure: Called with the keys of values that cannot be stored or whose write is not acknowledged.

        marks: Items to be written after the entries, if the function returns.
    """
    policy, ids = load.policy, list(load.misses)
    prepared: Mapping[Hashable, Prepared] = {}
    reads = None if policy.tables is None else reads_of(policy.store, policy.tables, load.misses)
    computation = Computation(policy.store.alias, collects=policy.nested, leads=leads, reads=reads)
    try:  # as `collect_dependencies()`
        computation.begin()
        if reads is not None:
            yield partial(begin_reading, computation, reads, load.arguments)
        arguments, needs_thread = (ids,) if load.takes_ids else (), partial(_needs_thread, load, computation)
        began = perf_counter()
        outcome: Outcome[Any] = yield CallUser(arguments, needs_thread, computation.note_connections_here)
        seconds = perf_counter() - began
        if isinstance(outcome, Ok):
            outcome = yield Anywhere(materialize, Origin(policy.function), outcome.value, ids, takes_ids=load.takes_ids)
        outcome = _remember(policy, ids, outcome)
        if isinstance(outcome, Ok):
            policy.emit("computed", load.misses[ids[0]].key, seconds=seconds)
        if isinstance(outcome, Ok) and (leads or any(stamp is not None for stamp in stamps.values())):
            # Inside the block: what the serializer evaluates is a dependency, too.
            prepared = yield Anywhere(_prepare_each, policy, outcome.value, computation)
    finally:
        computation.has_ended = True
        computation.end()
    outcome = _without_unstorable(load, outcome, prepared)
    dependencies = computation.dependencies()
    if isinstance(outcome, Err):
        results = _results_of_error(load, stamps, dependencies, seconds, outcome.error)
        if isinstance(outcome.error, Exception) and not is_interrupt(outcome.error):
            for found in load.misses.values():
                # A computation around it may catch the error, and return what it makes of it.
                propagate_dependencies(policy, found, results[found.key])
            outcome = (yield from stale_fallback(load, outcome.error)) or outcome
        return outcome, results
    # An equal share of the cost for each entry: a hit saves no more than that.
    seconds_each, statements_each = seconds / len(ids), ceil(dependencies.statements / len(ids))
    entries: list[PendingEntry] = []
    results = {}
    for each, found in load.misses.items():
        key, ready = found.key, prepared.get(each, NOT_PREPARED)
        lifetime = lifetime_of(policy, ready, dependencies.ends)
        stamp, problem = stamp_if_cacheable(policy, found, stamps[each], dependencies)
        problem = problem or (ready.problem and _problem_inside(policy, ready.problem))
        stamp, nested_tokens = with_tables(policy, found, stamp, dependencies.tokens)
        replaced: Any = (found.raw or {}).get(key)
        unchanged = replaced is not None and has_value(policy.codec, key, replaced, ready.serialized)
        entries.append(
            PendingEntry(key, stamp, nested_tokens, seconds_each, ready, lifetime, statements_each, unchanged)
        )
        result = results[key] = FlightResult(
            stamps[each],
            dependencies.tokens,
            ready.serialized,
            seconds_each,
            is_cacheable=not dependencies.problem,
            ends=lifetime.ends,
            problem=problem,
        )
        propagate_dependencies(policy, found, result)
    for key in _unreadable(load.misses, prepared):
        yield partial(policy.store.delete, key)
    yield from store_flow(policy, entries, on_failure, marks)
    return outcome, results


def _unreadable(misses: Misses, prepared: Mapping[Hashable, Prepared]) -> list[str]:
    """Return the keys of entries that can't be read and are not replaced, which each call would try to read."""
    return [
        found.key
        for each, ready in prepared.items()
        if ready.problem == UNRESTORABLE and (found := misses[each]).entry is None and found.key in (found.raw or ())
    ]


def _needs_thread(load: Load, computation: Computation) -> bool:
    """
    Tell on an event loop whether what follows a computation needs the thread of Django's connections.

    That thread stores at the commit what may be uncommitted, calls hooks and options of users, and tells of a
    connection from which the watcher was removed. And it serializes many values, during which the loop goes on.
    """
    policy = load.policy
    return (
        policy.asks_thread
        or len(load.misses) > MOST_ON_LOOP
        or hooks.needs_thread
        or not policy.store.is_written_on_loop
        or any(map(transactions.may_be_open, computation.connections))
        or (computation.reads is not None and not watcher.are_watched(computation.connections))
    )


def _remember(policy: CachePolicy, ids: Sequence[Hashable], outcome: Outcome[Values]) -> Outcome[Values]:
    """Return one of the *cache_exceptions* as a value; that of several ids may be of any of them."""
    if isinstance(outcome, Err) and len(ids) == 1 and policy.remembers(outcome.error):
        return Ok({ids[0]: Raised(cast("Exception", outcome.error))})
    return outcome


def _without_unstorable(load: Load, outcome: Outcome[Values], prepared: Mapping[Hashable, Prepared]) -> Outcome[Values]:
    """
    Return an exception instead of values of which one is refused.

    An exception that can't be stored, which is an event, is returned as any other exception.
    """
    for each, ready in prepared.items():
        if ready.error is None:  # nearly always
            continue
        value = outcome.value[each] if isinstance(outcome, Ok) else None
        if type(value) is Raised:
            emit_problem(load.policy, load.misses[each].key, ready)
            return Err(value.error)
        if isinstance(ready.error, RefusedValueError):
            return Err(ready.error.explain(Origin(load.policy.function), value))
    return outcome


def _prepare_each(
    policy: CachePolicy, values: Values, computation: Computation | None = None, passes: Passes = ()
) -> dict[Hashable, Prepared]:
    prepared = {each: prepare(policy, value, passes) for each, value in values.items()}
    if computation is not None and computation.reads is not None and policy.tables is not None:
        end_reading(policy, policy.tables, computation, computation.reads, passes)
    return prepared


def _results_of_error(
    load: Load, stamps: Stamps, dependencies: Dependencies, seconds: float, error: BaseException
) -> Results:
    """Return the results of a computation that raised; none after an interrupt, which is no result."""
    if not isinstance(error, Exception) or is_interrupt(error):
        return {}
    keys, is_cacheable = frozenset(found.key for found in load.misses.values()), not dependencies.problem
    return {
        found.key: FlightResult(
            stamps[each],
            dependencies.tokens,
            None,
            seconds,
            error,
            keys,
            is_cacheable,
            dependencies.ends,
            dependencies.problem or collector.find_problem(dependencies, found.variation, time()),
        )
        for each, found in load.misses.items()
    }


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


# --- serve what is stored ---


def serve_each(policy: CachePolicy, calls: Misses) -> Values:
    """Return the values of the entries that were read, fresh or stale, by id."""
    if collector.innermost.get() is not None:
        for found in calls.values():
            record_found(policy, found)
    now = time()
    entries: list[Any] = [found.entry for found in calls.values()]  # the caller knows that there is one in each
    fresh = [entry.seconds for entry in entries if entry.expires > now]
    if len(fresh) < len(entries):
        for found in [each for each, entry in zip(calls.values(), entries, strict=True) if entry.expires <= now]:
            policy.emit("stale", found.key, seconds=cast("Any", found.entry).seconds)
    keys = (found.keys[0] for found, entry in zip(calls.values(), entries, strict=True) if entry.expires > now)
    emit_hits(policy.function, policy.store.alias, keys, fresh)
    return dict(zip(calls, [entry.value for entry in entries], strict=True))


def serve_flow(load: Load) -> Flow[Values]:
    """Serve the entries that were read."""
    return Ok((yield partial(serve_each, load.policy, load.misses)))


def stale_fallback(load: Load, error: Exception) -> EffectFlow[Ok[Values] | None]:
    """Stale-if-error: return the old values if all may be served although the computation raised, else None."""
    policy = load.policy
    if not may_replace_errors(policy, load.misses.values()):
        return None
    # Read them again: an entry that was invalidated during the computation is never served.
    again = yield partial(look_up, policy, [found.keys for found in load.misses.values()])
    if any(found.entry is None for found in again):
        return None
    reason = f"The computation failed, and the old value{'s were' if load.takes_ids else ' was'} served"
    policy.emit("error", again[0].key, reason=reason, error=error)
    return Ok(serve_each(policy, dict(zip(load.misses, again, strict=True))))


def may_replace_errors(policy: CachePolicy, calls: Collection[Found]) -> bool:
    """Tell whether all entries may be served if the computation fails."""
    now = time()
    return all(
        found.entry is not None and not found.entry.is_error and policy.fallback_until(found.entry) > now
        for found in calls
    )


# --- flows of calls that never share a computation ---


def bypass_flow(
    function: str, reason: str, ids: Sequence[Any] | None = None, on_failure: Callable[[], None] | None = None
) -> Flow[Values]:
    """
    Compute and store nothing; then call *on_failure*, if there is one.

    Args:
        function: Its name, for events.

        reason: Why, for events.

        ids: Those of the call; None if the function takes none.

        on_failure: Called after the computation.
    """
    takes_ids, ids = ids is not None, [None] if ids is None else list(ids)
    if not ids:
        return Ok({})
    for _ in ids:
        emit(Event("bypassed", function, reason=reason))
    collector.mark_uncacheable()
    began = perf_counter()
    outcome: Outcome[Any] = yield CallUser((ids,)) if takes_ids else CALL_USER
    if isinstance(outcome, Ok):
        emit(Event("computed", function, seconds=perf_counter() - began))
        if takes_ids:
            outcome = yield partial(materialize, Origin(function), outcome.value, ids, takes_ids=True)
        else:
            outcome = Ok({None: outcome.value})
    if on_failure and isinstance(outcome, Ok):
        yield on_failure
    return outcome


def refresh_flow(load: Load, on_failure: OnFailure) -> Flow[Values]:
    """Compute and store, even if another caller computes; *on_failure* is called with what is not stored."""
    for each in load.unstamped:
        found = load.misses[each]
        load.policy.emit("bypassed", found.key, reason=bypass_in_transaction(found.keys))
    stamps, _ = yield partial(build_stamps, load.policy, load.misses, load.unstamped)
    return (yield from compute(load, stamps, on_failure=on_failure))[0]


def store_given(policy: CachePolicy, calls: Misses, values: Values, on_failure: OnFailure) -> None:
    """
    Store values that the caller already has, by id; *on_failure* is called with what is not stored.

    Raises:
        TypeError: A part of a value must not be stored.
    """
    tables = policy.tables
    if tables is not None and not tables.is_known and not policy.declared:
        stamps: Stamps = dict.fromkeys(calls)
        for found in calls.values():
            policy.emit("unstored", found.key, reason=NOTHING_KNOWN)
    else:
        stamps, _ = build_stamps(policy, calls)
    prepared = _prepare_each(policy, values)
    for each, ready in prepared.items():
        if isinstance(ready.error, RefusedValueError):
            raise ready.error.explain(Origin(policy.function, is_given=True), values[each])
    entries = [
        PendingEntry(found.key, stamps[each], {}, 0.0, prepared[each], lifetime_of(policy, prepared[each]))
        for each, found in calls.items()
    ]
    store_entries(policy, entries, on_failure)


def only_value(flow: Flow[Values]) -> Flow[Any]:
    """Run the flow of a function that takes no ids, and return its value."""
    outcome = yield from flow
    if isinstance(outcome, Err):
        return outcome
    [value] = outcome.value.values()
    return outcome_of(value)


def present_values(flow: Flow[Values], ids: Sequence[Any]) -> Flow[dict[Any, Any]]:
    """Run the flow of a function over ids; return the values in their order, without those that it does not know."""
    outcome = yield from flow
    if isinstance(outcome, Err):
        return outcome
    raised = next((each for each in outcome.value.values() if type(each) is Raised), None)
    return Ok(without_absent(ids, outcome.value)) if raised is None else Err(raised.error)
