"""Run the user's function for a load: time it, collect what it depends on, and store what it returns."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final, cast

from cachedeco.invalidation import transactions
from cachedeco.loading.effects import Anywhere, CallUser, EffectFlow, Err, Ok, Outcome
from cachedeco.loading.load import Load
from cachedeco.loading.materializing import Values, materialize
from cachedeco.loading.new_entries import Computed, new_entries, results_of_error, unreadable_keys
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.results import Results, propagate_dependencies
from cachedeco.loading.serving import stale_fallback
from cachedeco.loading.stamping import Stamps
from cachedeco.loading.tables import begin_reading, end_reading, reads_of
from cachedeco.loading.writing import OnFailure, Prepared, emit_problem, prepare, store_flow
from cachedeco.runtime import hooks
from cachedeco.runtime.interrupts import Reraised
from cachedeco.storage.refusals import RefusedValueError, ValueOrigin
from cachedeco.storage.serializers import Raised
from cachedeco.storage.store import Item
from cachedeco.tracking import watcher
from cachedeco.tracking.collector import Computation

# Values that an event loop serializes: it does nothing else meanwhile.
MOST_ON_LOOP: Final = 100


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
    policy = load.policy
    computed = yield from _call_function(load, stamps, leads=leads)
    outcome = computed.outcome
    if isinstance(outcome, Err):
        results = results_of_error(load, stamps, computed, outcome.error)
        _propagate(load, results)  # a computation around it may catch the error, and return what it makes of it
        if results:
            outcome = (yield from stale_fallback(load, cast("Exception", outcome.error))) or outcome
        return outcome, results
    entries, results = new_entries(load, stamps, computed)
    _propagate(load, results)
    for key in unreadable_keys(load, computed.prepared):
        yield partial(policy.store.delete, key)
    yield from store_flow(policy, entries, on_failure, marks)
    return outcome, results


def _propagate(load: Load, results: Results) -> None:
    """Record the results in the enclosing computation; there are none after an interrupt."""
    if results:
        for found in load.misses.values():
            propagate_dependencies(load.policy, found, results[found.key])


def _call_function(load: Load, stamps: Stamps, *, leads: bool) -> EffectFlow[Computed]:
    """Call the user's function, evaluate and serialize what it returns, and collect what all this depends on."""
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
            outcome = yield Anywhere(
                materialize, ValueOrigin(policy.function), outcome.value, ids, takes_ids=load.takes_ids
            )
        outcome = _exception_as_value(policy, ids, outcome)
        if isinstance(outcome, Ok):
            policy.emit("computed", load.misses[ids[0]].key, seconds=seconds)
        if isinstance(outcome, Ok) and (leads or any(stamp is not None for stamp in stamps.values())):
            # Inside the block: what the serializer evaluates is a dependency, too.
            prepared = yield Anywhere(_prepare_each, policy, outcome.value, computation)
    finally:
        computation.has_ended = True
        computation.end()
    outcome = _without_unstorable(load, outcome, prepared)
    return Computed(outcome, prepared, computation.dependencies(), seconds)


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


def _exception_as_value(policy: CachePolicy, ids: Sequence[Hashable], outcome: Outcome[Values]) -> Outcome[Values]:
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
            return Err(ready.error.explain(ValueOrigin(load.policy.function), value))
    return outcome


def _prepare_each(
    policy: CachePolicy, values: Values, computation: Computation, reraised: Reraised = ()
) -> dict[Hashable, Prepared]:
    """Serialize the values; then all that they depend on was read."""
    prepared = {each: prepare(policy, value, reraised) for each, value in values.items()}
    if computation.reads is not None and policy.tables is not None:
        end_reading(policy, policy.tables, computation, computation.reads, reraised)
    return prepared
