"""Run the user's function for a load: time it, collect what it depends on, and store what it returns."""

from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final, cast

from cachedeco.invalidation import transactions
from cachedeco.loading.effects import Anywhere, CallUser, EffectFlow, Err, Ok, Outcome
from cachedeco.loading.load import FlightResult, Load, propagate_dependencies
from cachedeco.loading.materializing import Values, materialize
from cachedeco.loading.new_entries import add_results_of_error, new_entries, unreadable_keys
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.serving import stale_fallback
from cachedeco.loading.tables import begin_reading, end_reading, reads_of
from cachedeco.loading.writing import OnFailure, emit_problem, prepare, store_flow
from cachedeco.runtime import hooks
from cachedeco.runtime.interrupts import Reraised, is_interrupt
from cachedeco.storage.refusals import RefusedValueError, ValueOrigin
from cachedeco.storage.serializers import Raised
from cachedeco.storage.store import Item
from cachedeco.tracking import watcher
from cachedeco.tracking.collector import Computation, Dependencies

# Values that an event loop serializes: it does nothing else meanwhile.
MOST_ON_LOOP: Final = 100
LOCKING: Final = "it locks rows until the transaction around the call ends, and a hit would lock none"
LOCK_OUTSIDE: Final = "Lock them outside of it, or call it without the cache, by uncached()"


def compute(
    load: Load, *, leads: bool = False, on_failure: OnFailure = None, marks: Sequence[Item] = ()
) -> EffectFlow[Err | None]:
    """
    Compute and store; return an error. Otherwise each miss has its value, and its result for followers.

    Args:
        load: What to compute, with the stamps of the new entries.

        leads: Whether followers may wait for the results.

        on_failure: Called with the keys of values that cannot be stored or whose write is not acknowledged.

        marks: Items to be written after the entries, if the function returns.
    """
    outcome, dependencies, seconds = yield from _call_function(load, leads=leads)
    if isinstance(outcome, Err):
        error = outcome.error
        if not isinstance(error, Exception) or is_interrupt(error):  # which is no result
            return outcome
        add_results_of_error(load, dependencies, seconds, error)
        _propagate(load)  # a computation around it may catch the error, and return what it makes of it
        return None if (yield from stale_fallback(load, error)) else outcome
    for miss in load.misses:
        miss.value = outcome.value[miss.id]
    new_entries(load, dependencies, seconds)
    _propagate(load)
    for key in unreadable_keys(load):
        yield partial(load.policy.store.delete, key)
    yield from store_flow(load, on_failure, marks)
    return None


def _propagate(load: Load) -> None:
    """Record the results in the enclosing computation."""
    for miss in load.misses:
        propagate_dependencies(load.policy, miss.found, cast("FlightResult", miss.result))


def _call_function(load: Load, *, leads: bool) -> EffectFlow[tuple[Outcome[Values], Dependencies, float]]:
    """
    Call the user's function, evaluate and serialize what it returns, and collect what all this depends on.

    Returns:
        The outcome, by id; what it depends on; the seconds that this took, without those of the serializer alone.
    """
    policy, ids = load.policy, load.ids
    reads = None if policy.tables is None else reads_of(policy.store, policy.tables, load.found)
    computation = Computation(policy.store.alias, collects=policy.nested, leads=leads, reads=reads)
    try:  # as `collect_dependencies()`, without what a context manager costs each miss
        computation.begin()
        if reads is not None:
            yield partial(begin_reading, computation, reads, load.arguments)
        arguments = (ids,) if load.takes_ids else ()
        needs_thread = partial(_needs_thread, policy, computation, len(ids))
        began = perf_counter()
        outcome: Outcome[Any] = yield CallUser(arguments, needs_thread, computation.note_connections_here)
        if isinstance(outcome, Ok):
            outcome = yield Anywhere(
                materialize, ValueOrigin(policy.function), outcome.value, ids, takes_ids=load.takes_ids
            )
        seconds = perf_counter() - began
        outcome = _exception_as_value(policy, ids, outcome)
        if isinstance(outcome, Ok) and (leads or any(miss.stamp is not None for miss in load.misses)):
            # Inside the block: what the serializer evaluates is a dependency, too.
            seconds += yield Anywhere(_prepare_each, load, outcome.value, computation)
        if isinstance(outcome, Ok):
            policy.emit("computed", load.misses[0].key, seconds=seconds)
    finally:
        computation.has_ended = True
        computation.end()
    return _without_unstorable(load, outcome), computation.dependencies(), seconds


def _needs_thread(policy: CachePolicy, computation: Computation, values: int) -> bool:
    """
    Tell on an event loop whether what follows a computation needs the thread of Django's connections.

    That thread stores at the commit what may be uncommitted, calls hooks and options of users, and tells of a
    connection from which the watcher was removed. And it serializes many values, during which the loop goes on.

    It takes no load: that has the exception whose traceback has the caller of this.
    """
    return (
        policy.asks_thread
        or values > MOST_ON_LOOP
        or hooks.needs_thread
        or not policy.store.is_written_on_loop
        or any(map(transactions.may_be_open, computation.connections))
        or (computation.reads is not None and not watcher.are_watched(computation.connections))
    )


def _exception_as_value(policy: CachePolicy, ids: Sequence[Any], outcome: Outcome[Values]) -> Outcome[Values]:
    """Return one of the *cache_exceptions* as a value; that of several ids may be of any of them."""
    if isinstance(outcome, Err) and len(ids) == 1 and policy.remembers(outcome.error):
        return Ok({ids[0]: Raised(cast("Exception", outcome.error))})
    return outcome


def _without_unstorable(load: Load, outcome: Outcome[Values]) -> Outcome[Values]:
    """
    Return an exception instead of values of which one is refused.

    An exception that can't be stored, which is an event, is returned as any other exception.
    """
    for miss in load.misses:
        error = miss.prepared.error
        if error is None:  # nearly always
            continue
        value = outcome.value[miss.id] if isinstance(outcome, Ok) else None
        if type(value) is Raised:
            emit_problem(load.policy, miss)
            return Err(value.error)
        if isinstance(error, RefusedValueError):
            return Err(error.explain(ValueOrigin(load.policy.function), value))
    return outcome


def _prepare_each(load: Load, values: Values, computation: Computation, reraised: Reraised = ()) -> float:
    """
    Serialize the values; then all that they depend on was read.

    Returns:
        The seconds that it took, if a value has run a query, as a QuerySet inside of a dict does; else 0.
    """
    policy, statements, began = load.policy, computation.statements, perf_counter()
    if any(map(transactions.may_be_open, computation.locking)):
        computation.problems.append(LOCKING)
        policy.advice.give_never_stored(LOCKING, LOCK_OUTSIDE)
    for miss in load.misses:
        miss.prepared = prepare(policy, values[miss.id], reraised)
    seconds = perf_counter() - began if computation.statements > statements else 0.0
    if computation.reads is not None and policy.tables is not None:
        end_reading(policy, policy.tables, computation, computation.reads, reraised)
    return seconds
