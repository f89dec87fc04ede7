"""
Bulk loading: one call of the function for all ids that miss, with single flight and a lease for each call.

Each id has a flight of its own, named by the entry's key and the tokens as read. A caller leads the flights that have
no leader, computes their ids together, and only then waits for the leaders of the others. After that it reads the
cache: an entry is served only if its stamp equals the tokens, no matter which caller created these, or when.

Between processes there is one lease for all ids that a caller computes, named by their keys and tokens, since a
stampede asks for the same ids. Callers of several processes whose ids overlap may each compute the common ones.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from time import monotonic, perf_counter, time
from typing import Any, Final, NamedTuple

from cachedeco.invalidation import transactions
from cachedeco.loading.batch import build_stamps, materialize_each, read_entries, store_values, without_absent
from cachedeco.loading.computing import Miss, is_within_max_stale, serve, stamp_if_cacheable, tokens_as_read
from cachedeco.loading.effects import CallUser, EffectFlow, Err, Flow, Ok, Outcome, Wait
from cachedeco.loading.leases import FAILED, MOST_FAILED_ADDS, STORED, Lease, LeaseOutcome, lease_named, pauses_until
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.single_flight import FlightGroup, FlightName, join_or_lead_each
from cachedeco.loading.writing import PendingEntry
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.entries import Stamp, is_token
from cachedeco.tracking import collector

Ids = Sequence[Hashable]
Values = dict[Hashable, Any]  # by id; ABSENT for an id that the function did not return
Misses = Mapping[Hashable, Miss]  # by id, in the caller's order
Stamps = dict[Hashable, Stamp | None]  # by id; None if no entry is stored
OnFailure = Callable[[Sequence[str]], None] | None  # called with the keys of entries that could not be stored
# How often a caller joins or leads flights before it computes alone: the leaders' entries may be invalidated meanwhile.
ROUNDS: Final = 2


class Batch(NamedTuple):
    """A call for many ids, not all of which have a fresh entry."""

    policy: CachePolicy
    ids: Ids  #: all ids of the call, in order, each once
    values: Values  #: the values of fresh entries
    stale: Misses  #: ids whose entry may still be served
    missing: Misses  #: all others
    bypassed: AbstractSet[Hashable]  #: missing ids that this transaction has invalidated


# --- flows of a call ---


def batch_flow(batch: Batch) -> Flow[Values]:
    """Serve or refresh the stale ids, compute the missing ones, and return all values."""
    values = dict(batch.values)
    for flow in (_refresh_stale(batch), _load_missing(batch)):
        outcome = yield from flow
        if isinstance(outcome, Err):
            return outcome
        values |= outcome.value
    return Ok(without_absent(batch.ids, values))


def refresh_each_flow(batch: Batch, on_failure: OnFailure) -> Flow[Values]:
    """Compute and store all missing ids, even if another caller computes."""
    for entry_id in batch.bypassed:
        batch.policy.emit("bypassed", batch.missing[entry_id].keys[0])
    stamps = yield partial(stamps_of, batch.policy, batch.missing, batch.bypassed)
    outcome, _ = yield from _compute(batch.policy, batch.missing, stamps, on_failure=on_failure)
    return outcome if isinstance(outcome, Err) else Ok(without_absent(batch.ids, outcome.value))


def bypass_each_flow(function: str, ids: Ids, on_failure: Callable[[], None] | None = None) -> Flow[Values]:
    """Compute and store nothing; then call *on_failure*, if there is one. Without ids, do nothing."""
    if not ids:
        return Ok({})
    for _ in ids:
        emit(Event("bypassed", function))
    collector.mark_uncacheable()
    began = perf_counter()
    outcome: Outcome[Any] = yield CallUser((list(ids),))
    if isinstance(outcome, Ok):
        emit(Event("computed", function, seconds=perf_counter() - began))
        outcome = yield partial(materialize_each, function, outcome.value, ids)
    if isinstance(outcome, Err):
        return outcome
    if on_failure:
        yield on_failure
    return Ok(without_absent(ids, outcome.value))


# --- single flight ---


def _load_missing(batch: Batch) -> Flow[Values]:
    """Compute the missing ids, or take what other leaders compute."""
    policy, misses = batch.policy, batch.missing
    for entry_id, miss in misses.items():
        policy.emit("bypassed" if entry_id in batch.bypassed else "miss", miss.keys[0])
    values: Values = {}
    if misses and (yield partial(_may_share, batch)):
        deadline = monotonic() + policy.wait
        for _ in range(ROUNDS):
            outcome, misses = yield from _load_in_flights(policy, misses, deadline)
            if isinstance(outcome, Err):
                return outcome
            values |= outcome.value
            if not misses:
                return Ok(values)
    if misses:
        stamps = yield partial(stamps_of, policy, misses, batch.bypassed)
        outcome, _ = yield from _compute(policy, misses, stamps)
        return outcome if isinstance(outcome, Err) else Ok(values | outcome.value)
    return Ok(values)


def _may_share(batch: Batch) -> bool:
    """Tell whether flights may be joined or led: not if the cache failed, in a transaction, or inside a leader."""
    has_read = all(miss.raw is not None for miss in batch.missing.values())  # a bypassed id has None, too
    return has_read and batch.policy.wait > 0 and not collector.is_leading() and not transactions.any_open()


def _load_in_flights(
    policy: CachePolicy, misses: Misses, deadline: float
) -> EffectFlow[tuple[Outcome[Values], Misses]]:
    """Lead the flights that have no leader, then wait for the others; return the outcome, and the misses left."""
    group, others = join_or_lead_each(map(_flight_name, misses.values()))
    outcome = yield from _lead(group, policy, _misses_led(group, misses), deadline)
    if isinstance(outcome, Err):
        return outcome, {}
    for future in others:
        yield Wait(future, max(0.0, deadline - monotonic()))
    remaining: Misses = {entry_id: miss for entry_id, miss in misses.items() if entry_id not in outcome.value}
    if not remaining:
        return outcome, remaining
    values, remaining, _ = yield partial(_read_again, policy, remaining)
    return Ok(outcome.value | values), remaining


def _flight_name(miss: Miss) -> FlightName:
    return miss.policy.store.alias, miss.keys[0], _complete_tokens(miss)


def _complete_tokens(miss: Miss) -> Stamp:
    """Return the tokens as read; empty if one is absent, since another caller may be creating them."""
    tokens = tokens_as_read(miss)
    return tokens if all(map(is_token, tokens)) else ()


def _misses_led(group: FlightGroup, misses: Misses) -> Misses:
    return {entry_id: miss for entry_id, miss in misses.items() if _flight_name(miss) in group.flights}


def _lead(group: FlightGroup, policy: CachePolicy, misses: Misses, deadline: float) -> Flow[Values]:
    """Compute for all followers of the flights, unless another process does."""
    values: Values = {}
    remaining, lease = misses, None
    outcome: Outcome[Values] = Ok({})
    lease_outcome: LeaseOutcome = None
    leases: list[Lease] = []
    try:
        if misses:
            values, remaining, lease = yield from _acquire_or_wait(policy, misses, deadline)
        if remaining:
            leases = [lease] if lease else []
            stamps = yield partial(_stamps_of_leader, group, policy, remaining, leases)
            outcome, lease_outcome = yield from _compute(policy, remaining, stamps, leads=True)
    finally:
        # Release the followers first, even on error: at worst they re-check the cache.
        group.complete()
    for held_lease in leases:
        yield partial(held_lease.end, lease_outcome)
    return outcome if isinstance(outcome, Err) else Ok(values | outcome.value)


def _stamps_of_leader(group: FlightGroup, policy: CachePolicy, misses: Misses, leases: list[Lease]) -> Stamps:
    """
    Return the stamps of the new entries.

    Callers that arrive now read the tokens that were created for these: flights and lease get a second name with them.
    """
    stamps = stamps_of(policy, misses)
    stamped = {
        entry_id: misses[entry_id]._replace(raw=dict(zip(misses[entry_id].keys[1:], stamp, strict=True)))
        for entry_id, stamp in stamps.items()
        if stamp is not None
    }
    new_names = [_flight_name(miss) for entry_id, miss in stamped.items() if not _complete_tokens(misses[entry_id])]
    if new_names:
        group.rename(new_names)
        second = _lease_of(policy, stamped)
        if leases and second.take():
            leases.append(second)
    return stamps


# --- leases ---


def _acquire_or_wait(
    policy: CachePolicy, misses: Misses, deadline: float
) -> EffectFlow[tuple[Values, Misses, Lease | None]]:
    """
    Take the lease, or poll the cache for its holder's entries, at most until the deadline.

    Returns:
        The values that others have computed meanwhile, the misses that remain, and the lease for these; None to
        compute without holding one.
    """
    values: Values = {}
    lease = yield partial(_lease_of, policy, misses)
    if (yield lease.take):
        return values, misses, lease
    pauses, failed_adds = pauses_until(deadline), 0
    while failed_adds < MOST_FAILED_ADDS:
        previous, (more, misses, raw) = misses, (yield partial(_read_again, policy, misses, [lease.key]))
        values |= more
        holder = raw.get(lease.key) if raw else None
        if not misses or raw is None:
            break
        if holder == lease.owner:  # the `add` succeeded, although it reported failure
            return values, misses, lease
        has_ended = holder in (STORED, FAILED) or _have_new_tokens(previous, misses)
        if holder == FAILED and all(map(is_within_max_stale, misses.values())):
            return values | {entry_id: serve(miss).value for entry_id, miss in misses.items()}, {}, None
        if has_ended:  # but these have no valid entry: invalidated meanwhile, or not stored
            fresh = yield partial(_lease_of, policy, misses)
            if fresh.key == lease.key:
                break
            lease = fresh
        if (has_ended or holder is None) and (yield lease.take):
            return values, misses, lease
        failed_adds = failed_adds + 1 if holder is None else 0
        pause = next(pauses, None)
        if pause is None:
            break
        yield pause
    return values, misses, None


def _have_new_tokens(previous: Misses, misses: Misses) -> bool:
    """Tell whether a complete stamp has changed since the last read: the holder's entry for it will never be served."""
    return any(
        _complete_tokens(previous[entry_id]) not in {(), _complete_tokens(miss)} for entry_id, miss in misses.items()
    )


def _lease_of(policy: CachePolicy, misses: Misses) -> Lease:
    """Return the lease for the computation of these ids under the tokens as read."""
    fingerprint = [
        (miss.keys[0], _complete_tokens(miss), miss.entry and miss.entry.expires) for miss in misses.values()
    ]
    all_seconds = [miss.entry.seconds for miss in misses.values() if miss.entry]
    seconds = sum(all_seconds) if len(all_seconds) == len(misses) else None
    first_key = next(iter(misses.values())).keys[0]
    return lease_named(policy.store, first_key, repr(fingerprint).encode(), seconds)


def _read_again(
    policy: CachePolicy, misses: Misses, also: Sequence[str] = ()
) -> tuple[Values, Misses, Mapping[str, object] | None]:
    """Read the entries again; return the values that others have stored, the misses that remain, and the raw values."""
    results = read_entries(policy, [miss.keys for miss in misses.values()], also)
    values: Values = {}
    remaining: dict[Hashable, Miss] = {}
    for (entry_id, miss), (entry_keys, raw, entry) in zip(misses.items(), results, strict=True):
        if entry is not None and entry.expires > time():
            collector.record_dependency(policy.store.alias, entry_keys, raw)
            policy.emit("shared", miss.keys[0], seconds=entry.seconds)
            values[entry_id] = entry.value
        else:
            remaining[entry_id] = miss._replace(entry_keys=entry_keys, raw=raw, entry=entry)
    return values, remaining, results[0][1]


# --- compute ---


def _compute(
    policy: CachePolicy,
    misses: Misses,
    stamps: Stamps,
    *,
    leads: bool = False,
    on_failure: OnFailure = None,
) -> EffectFlow[tuple[Outcome[Values], LeaseOutcome]]:
    """Compute and store; return the caller's outcome, and the outcome to leave in the lease."""
    ids = list(misses)
    began = perf_counter()
    with collector.collect_dependencies(policy.store.alias, collects=policy.nested, leads=leads) as computation:
        outcome: Outcome[Any] = yield CallUser((ids,))
        if isinstance(outcome, Ok):
            outcome = yield partial(materialize_each, policy.function, outcome.value, ids)
    seconds = perf_counter() - began
    if isinstance(outcome, Err):
        old_values = None
        if isinstance(outcome.error, Exception):
            old_values = yield from _stale_fallback(policy, misses, outcome.error)
        return (outcome, None) if old_values is None else (old_values, FAILED)
    policy.emit("computed", misses[ids[0]].keys[0], seconds=seconds)
    pendings, nested_tokens = [], dict(computation.nested_tokens)
    for entry_id, miss in misses.items():
        stamp = stamp_if_cacheable(miss, stamps[entry_id], nested_tokens, is_cacheable=computation.is_cacheable)
        # An equal share of the seconds for each entry: a hit saves no more than that.
        pending = PendingEntry(policy, miss.keys[0], stamp, nested_tokens, seconds / len(ids))
        pendings.append((pending, outcome.value[entry_id]))
    yield partial(store_values, pendings, on_failure)
    return outcome, STORED


def stamps_of(policy: CachePolicy, misses: Misses, bypassed: AbstractSet[Hashable] = frozenset()) -> Stamps:
    """Return the stamps of the new entries; None for ids that this transaction has invalidated."""
    stamps: Stamps = dict.fromkeys(bypassed)
    others = {entry_id: miss for entry_id, miss in misses.items() if entry_id not in bypassed}
    if others:
        calls = [miss.keys for miss in others.values()]
        stamps |= zip(others, build_stamps(policy, calls, next(iter(others.values())).raw), strict=True)
    return stamps


def _stale_fallback(policy: CachePolicy, misses: Misses, error: Exception) -> EffectFlow[Ok[Values] | None]:
    """Stale-if-error: return the old values if all ids may be served although the computation raised, else None."""
    if not all(map(is_within_max_stale, misses.values())):
        return None
    # Read them again: an entry that was invalidated during the computation is never served.
    results = yield partial(read_entries, policy, [miss.keys for miss in misses.values()])
    if any(entry is None for _, _, entry in results):
        return None
    first_key = next(iter(misses.values())).keys[0]
    policy.emit("error", first_key, reason="The computation failed, and the old values were served", error=error)
    return Ok(
        {
            entry_id: serve(miss._replace(entry_keys=entry_keys, raw=raw, entry=entry)).value
            for (entry_id, miss), (entry_keys, raw, entry) in zip(misses.items(), results, strict=True)
        }
    )


# --- refresh ---


def _refresh_stale(batch: Batch) -> Flow[Values]:
    """Stale-while-revalidate: serve stale entries, unless this caller won the lease and must refresh them."""
    policy, stale = batch.policy, batch.stale
    values: Values = {}
    if stale and not (yield transactions.any_open):  # a value of a transaction is never shared
        group, _ = join_or_lead_each(map(_flight_name, stale.values()))
        led = _misses_led(group, stale)
        lease, lease_outcome = None, None
        outcome: Outcome[Values] = Ok({})
        try:
            lease = (yield partial(_lease_of, policy, led)) if led else None
            lease = lease if lease and (yield lease.take) else None
            if lease:
                for miss in led.values():
                    policy.emit("miss", miss.keys[0])
                stamps = yield partial(stamps_of, policy, led)
                outcome, lease_outcome = yield from _compute(policy, led, stamps, leads=True)
        finally:
            group.complete()
        if lease:
            yield partial(lease.end, lease_outcome)
        if isinstance(outcome, Err):
            return outcome
        values = outcome.value
    return Ok(values | {entry_id: serve(miss).value for entry_id, miss in stale.items() if entry_id not in values})
