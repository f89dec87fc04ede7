"""Calls that share no computation: those that bypass the cache, `refresh()`, and `set()`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final

from cachedeco.loading.computing import compute
from cachedeco.loading.effects import CALL_USER, CallUser, Flow, Ok, Outcome
from cachedeco.loading.found import Found
from cachedeco.loading.load import Load, misses_of
from cachedeco.loading.materializing import Values, materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import bypass_in_transaction
from cachedeco.loading.stamping import build_stamps
from cachedeco.loading.writing import OnFailure, encode, new_entry, prepare, store_entries
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.refusals import RefusedValueError, ValueOrigin
from cachedeco.tracking import collector

NOTHING_KNOWN: Final = (
    "under AUTO, set() needs the tables that the function reads, and no computation of it is known yet: call it first, "
    "name models in depends_on=, or say depends_on=() if its value may be old for its timeout"
)


def bypass_flow(
    function: str, reason: str, ids: Sequence[Any] | None = None, after: Callable[[], None] | None = None
) -> Flow[Values]:
    """
    Compute and store nothing; *after* is called after a computation that has returned.

    A refresh does so to invalidate the entries that it can't replace. *ids* are None if the function takes none.
    """
    takes_ids, ids = ids is not None, [None] if ids is None else list(ids)
    if not ids:
        return Ok({})
    for _ in ids:
        emit(Event("bypassed", function, reason=reason))
    collector.mark_uncacheable()
    began = perf_counter()
    with collector.read_apart():
        outcome: Outcome[Any] = yield CallUser((ids,)) if takes_ids else CALL_USER
        if isinstance(outcome, Ok):
            emit(Event("computed", function, seconds=perf_counter() - began))
            if takes_ids:
                outcome = yield partial(materialize, ValueOrigin(function), outcome.value, ids, takes_ids=True)
            else:
                outcome = Ok({None: outcome.value})
    if after and isinstance(outcome, Ok):
        yield after
    return outcome


def refresh_flow(load: Load, on_failure: OnFailure) -> Flow[Values]:
    """Compute and store, even if another caller computes; *on_failure* is called with what is not stored."""
    for miss in load.misses:
        if miss.is_unstamped:
            load.policy.emit("bypassed", miss.key, reason=bypass_in_transaction(miss.found.keys))
    yield partial(build_stamps, load.policy, load.misses)
    error = yield from compute(load, on_failure=on_failure)
    return Ok(load.values) if error is None else error


def store_given(policy: CachePolicy, calls: Mapping[Any, Found], values: Values, on_failure: OnFailure) -> None:
    """
    Store values that the caller already has, by id; *on_failure* is called with what is not stored.

    Raises:
        TypeError: A part of a value must not be stored.
    """
    tables, load = policy.tables, Load(policy, misses_of(calls))
    if tables is not None and not tables.is_known and not policy.declared:
        policy.advice.give(f"A value is not stored: {NOTHING_KNOWN}")
        for miss in load.misses:
            policy.emit_unstored(miss.key, NOTHING_KNOWN)
    else:
        build_stamps(policy, load.misses)
    prepared = {each: prepare(policy, value) for each, value in values.items()}
    for each, ready in prepared.items():
        if isinstance(ready.error, RefusedValueError):
            raise ready.error.explain(ValueOrigin(policy.function, is_given=True), values[each])
    for miss in load.misses:
        miss.prepared = prepared[miss.id]
        entry, miss.timeout = new_entry(policy, miss.prepared)
        encode(policy, miss, entry, miss.stamp)
    store_entries(load, on_failure)
