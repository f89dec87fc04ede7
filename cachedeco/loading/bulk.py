"""
To compute for many ids at once: one call of the function for all that are missing, whoever waits for some of them.

Each id has a flight of its own, named by the entry's key and the tokens as they were read. A caller leads the flights
that nobody leads yet, computes for them together, and waits for the others only after that. Who has waited looks into
the cache: what is served then has a living stamp, so it does not matter who minted its tokens, or when.

Between processes there is one lease for all that a caller computes, named by their keys and tokens, as a herd asks for
the same ids. Callers in several processes whose lists overlap may each compute for the ids that they share.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from time import monotonic, perf_counter, time
from typing import Any, Final, NamedTuple

from cachedeco.invalidation import transactions
from cachedeco.loading.batch import build_stamps, given, materialize_each, read_entries, store_values
from cachedeco.loading.computing import Miss, is_within_max_stale, serve, stamp_if_cacheable, tokens_as_read
from cachedeco.loading.effects import CallUser, EffectFlow, Err, Flow, Ok, Outcome, Wait
from cachedeco.loading.leases import FAILED, REFUSALS, STORED, Lease, LeaseOutcome, lease_named, pauses_until
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.single_flight import FlightGroup, Name, join_or_lead_each
from cachedeco.loading.writing import PendingEntry
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.entries import Stamp, is_token
from cachedeco.tracking import collector

Ids = Sequence[Hashable]
Values = dict[Hashable, Any]  # by id; ABSENT for an id that the function does not know
Calls = Mapping[Hashable, Miss]  # by id, in the order asked
Otherwise = Callable[[Sequence[str]], None] | None  # called with the keys of entries that could not be stored
# How often a caller computes with others, before he computes alone: what they have stored may be dead by then.
ROUNDS: Final = 2
Stamps = dict[Hashable, Stamp | None]  # by id; None where no entry is to come


class Batch(NamedTuple):
    """A call for many ids, of which some can't simply be served."""

    policy: CachePolicy
    ids: Ids  #: all that were asked for, in order, each once
    values: Values  #: of those that were served
    due: Calls  #: whose entry may still be served
    missing: Calls  #: all others
    bypassed: AbstractSet[Hashable]  #: those of them that this transaction has invalidated


# --- steps of a call ---


def batch_flow(batch: Batch) -> Flow[Values]:
    """Serve, refresh and compute what was not simply served."""
    values = dict(batch.values)
    for steps in (_refreshed(batch), _missed(batch)):
        outcome = yield from steps
        if isinstance(outcome, Err):
            return outcome
        values |= outcome.value
    return Ok(given(batch.ids, values))


def refresh_each_flow(batch: Batch, on_failure: Otherwise) -> Flow[Values]:
    """Compute and store for all that is missing, whoever else may be doing so."""
    for each in batch.bypassed:
        batch.policy.tell("bypassed", batch.missing[each].keys[0])
    stamps = yield partial(stamps_of, batch.policy, batch.missing, batch.bypassed)
    outcome, _ = yield from _computed(batch.policy, batch.missing, stamps, on_failure=on_failure)
    return outcome if isinstance(outcome, Err) else Ok(given(batch.ids, outcome.value))


def bypass_each_flow(function: str, ids: Ids, on_failure: Callable[[], None] | None = None) -> Flow[Values]:
    """Compute, and store nothing; call *otherwise* then. For no ids, nothing at all."""
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
    return Ok(given(ids, outcome.value))


# --- who computes ---


def _missed(batch: Batch) -> Flow[Values]:
    """Compute for what is missing, or take what other callers compute."""
    policy, left = batch.policy, batch.missing
    for each, call in left.items():
        policy.tell("bypassed" if each in batch.bypassed else "miss", call.keys[0])
    values: Values = {}
    if left and (yield partial(_may_share, batch)):
        deadline = monotonic() + policy.wait
        for _ in range(ROUNDS):
            outcome, left = yield from _shared(policy, left, deadline)
            if isinstance(outcome, Err):
                return outcome
            values |= outcome.value
            if not left:
                return Ok(values)
    if left:
        stamps = yield partial(stamps_of, policy, left, batch.bypassed)
        outcome, _ = yield from _computed(policy, left, stamps)
        return outcome if isinstance(outcome, Err) else Ok(values | outcome.value)
    return Ok(values)


def _may_share(batch: Batch) -> bool:
    """Tell whether to compute with others: not where the cache can't be asked, nor where others may be in our way."""
    can_be_asked = all(call.found is not None for call in batch.missing.values())  # nor was any of them bypassed
    return can_be_asked and batch.policy.wait > 0 and not collector.is_leading() and not transactions.any_open()


def _shared(policy: CachePolicy, calls: Calls, deadline: float) -> EffectFlow[tuple[Outcome[Values], Calls]]:
    """Compute for what nobody computes yet, then wait for the others; give what has come of it, and what is left."""
    group, others = join_or_lead_each(map(_name_of, calls.values()))
    outcome = yield from _led(group, policy, _led_by(group, calls), deadline)
    if isinstance(outcome, Err):
        return outcome, {}
    for future in others:
        yield Wait(future, max(0.0, deadline - monotonic()))
    left: Calls = {each: call for each, call in calls.items() if each not in outcome.value}
    if not left:
        return outcome, left
    seen, left, _ = yield partial(_seen, policy, left)
    return Ok(outcome.value | seen), left


def _name_of(call: Miss) -> Name:
    return call.policy.store.alias, call.keys[0], _known(call)


def _known(call: Miss) -> Stamp:
    """Return the tokens as they were read; none where one is absent, as another caller may be minting them."""
    tokens = tokens_as_read(call)
    return tokens if all(map(is_token, tokens)) else ()


def _led_by(group: FlightGroup, calls: Calls) -> Calls:
    return {each: call for each, call in calls.items() if _name_of(call) in group.flights}


def _led(group: FlightGroup, policy: CachePolicy, calls: Calls, deadline: float) -> Flow[Values]:
    """Compute for all who wait for the flights, unless another process does."""
    values: Values = {}
    left, lease = calls, None
    outcome: Outcome[Values] = Ok({})
    mark: LeaseOutcome = None
    leases: list[Lease] = []
    try:
        if calls:
            values, left, lease = yield from _granted(policy, calls, deadline)
        if left:
            leases = [lease] if lease else []
            stamps = yield partial(_stamps_led, group, policy, left, leases)
            outcome, mark = yield from _computed(policy, left, stamps, leads=True)
    finally:
        # First of all, and whatever has happened: these wait, and can see for themselves at the worst.
        group.complete()
    for each in leases:
        yield partial(each.end, mark)
    return outcome if isinstance(outcome, Err) else Ok(values | outcome.value)


def _stamps_led(group: FlightGroup, policy: CachePolicy, calls: Calls, leases: list[Lease]) -> Stamps:
    """
    Return the stamps for the entries to come.

    Who comes now finds the tokens that were minted for them: flights and lease get a second name, of these.
    """
    stamps = stamps_of(policy, calls)
    build_stamp = {
        each: calls[each]._replace(found=dict(zip(calls[each].keys[1:], stamp, strict=True)))
        for each, stamp in stamps.items()
        if stamp is not None
    }
    renamed = [_name_of(call) for each, call in build_stamp.items() if not _known(calls[each])]
    if renamed:
        group.rename(renamed)
        second = _lease_of(policy, build_stamp)
        if leases and second.take():
            leases.append(second)
    return stamps


def _granted(policy: CachePolicy, calls: Calls, deadline: float) -> EffectFlow[tuple[Values, Calls, Lease | None]]:
    """
    Take the lease, or wait for what its holder computes, at most until the deadline.

    Returns:
        What others have computed meanwhile, what is left to compute, and the lease for that; None where we compute
        without.
    """
    values: Values = {}
    lease = yield partial(_lease_of, policy, calls)
    if (yield lease.take):
        return values, calls, lease
    pauses, refusals = pauses_until(deadline), 0
    while refusals < REFUSALS:
        before, (seen, calls, found) = calls, (yield partial(_seen, policy, calls, [lease.key]))
        values |= seen
        mark = found.get(lease.key) if found else None
        if not calls or found is None:
            break
        if mark == lease.owner:  # it was taken, though we were told that it was not
            return values, calls, lease
        is_over = mark in (STORED, FAILED) or _are_dead(before, calls)
        if mark == FAILED and all(map(is_within_max_stale, calls.values())):
            return values | {each: serve(call).value for each, call in calls.items()}, {}, None
        if is_over:  # and for these nothing was stored that lives: by an invalidation, or it can't be stored
            after = yield partial(_lease_of, policy, calls)
            if after.key == lease.key:
                break
            lease = after
        if (is_over or mark is None) and (yield lease.take):
            return values, calls, lease
        refusals = refusals + 1 if mark is None else 0
        pause = next(pauses, None)
        if pause is None:
            break
        yield pause
    return values, calls, None


def _are_dead(before: Calls, now: Calls) -> bool:
    """Tell whether tokens that were there have changed: what the holder computes of their entries is dead at birth."""
    return any(_known(before[each]) not in {(), _known(call)} for each, call in now.items())


def _lease_of(policy: CachePolicy, calls: Calls) -> Lease:
    """Return the lease for a computation, of the ids that are missing, under the tokens that were read."""
    told = [(call.keys[0], _known(call), call.entry and call.entry.expires) for call in calls.values()]
    seconds = [call.entry.seconds for call in calls.values() if call.entry]
    first = next(iter(calls.values())).keys[0]
    return lease_named(policy.store, first, repr(told).encode(), sum(seconds) if len(seconds) == len(calls) else None)


def _seen(
    policy: CachePolicy, calls: Calls, also: Sequence[str] = ()
) -> tuple[Values, Calls, Mapping[str, object] | None]:
    """Look again; return what others have computed meanwhile, what is left, and all that was found."""
    looks = read_entries(policy, [call.keys for call in calls.values()], also)
    values: Values = {}
    left: dict[Hashable, Miss] = {}
    for (each, call), (asked, found, entry) in zip(calls.items(), looks, strict=True):
        if entry is not None and entry.expires > time():
            collector.record_dependency(policy.store.alias, asked, found)
            policy.tell("shared", call.keys[0], seconds=entry.seconds)
            values[each] = entry.value
        else:
            left[each] = call._replace(asked=asked, found=found, entry=entry)
    return values, left, looks[0][1]


# --- to compute ---


def _computed(
    policy: CachePolicy,
    calls: Calls,
    stamps: Stamps,
    *,
    leads: bool = False,
    on_failure: Otherwise = None,
) -> EffectFlow[tuple[Outcome[Values], LeaseOutcome]]:
    """Compute and store; give what the caller gets, and how that is to be remembered."""
    ids = list(calls)
    began = perf_counter()
    with collector.computing(policy.store.alias, collects=policy.nested, leads=leads) as computation:
        outcome: Outcome[Any] = yield CallUser((ids,))
        if isinstance(outcome, Ok):
            outcome = yield partial(materialize_each, policy.function, outcome.value, ids)
    seconds = perf_counter() - began
    if isinstance(outcome, Err):
        old = (
            (yield from _stale_fallback(policy, calls, outcome.error)) if isinstance(outcome.error, Exception) else None
        )
        return (outcome, None) if old is None else (old, FAILED)
    policy.tell("computed", calls[ids[0]].keys[0], seconds=seconds)
    pendings, inner = [], dict(computation.inner)
    for each, call in calls.items():
        stamp = stamp_if_cacheable(call, stamps[each], inner, is_cacheable=computation.is_cacheable)
        # A share of the time for each: a hit saves no more than that.
        pendings.append((PendingEntry(policy, call.keys[0], stamp, inner, seconds / len(ids)), outcome.value[each]))
    yield partial(store_values, pendings, on_failure)
    return outcome, STORED


def stamps_of(policy: CachePolicy, calls: Calls, bypassed: AbstractSet[Hashable] = frozenset()) -> Stamps:
    """Return the stamps for the entries to come; none for what this transaction has invalidated."""
    stamps: Stamps = dict.fromkeys(bypassed)
    rest = {each: call for each, call in calls.items() if each not in bypassed}
    if rest:
        rows = [call.keys for call in rest.values()]
        stamps |= zip(rest, build_stamps(policy, rows, next(iter(rest.values())).found), strict=True)
    return stamps


def _stale_fallback(policy: CachePolicy, calls: Calls, error: Exception) -> EffectFlow[Ok[Values] | None]:
    """Return the old values, where they may be served for all ids though the computation has raised."""
    if not all(map(is_within_max_stale, calls.values())):
        return None
    # What was invalidated while the computation ran is not served, whatever has become of the computation.
    looks = yield partial(read_entries, policy, [call.keys for call in calls.values()])
    if any(entry is None for _, _, entry in looks):
        return None
    first = next(iter(calls.values())).keys[0]
    policy.tell("error", first, reason="The computation failed, and the old values were served", error=error)
    again = [call._replace(asked=a, found=f, entry=e) for call, (a, f, e) in zip(calls.values(), looks, strict=True)]
    return Ok({each: serve(call).value for each, call in zip(calls, again, strict=True)})


# --- to refresh what is still served ---


def _refreshed(batch: Batch) -> Flow[Values]:
    """Serve what is due, or nearly, unless it is this caller who refreshes it."""
    policy, due = batch.policy, batch.due
    values: Values = {}
    if due and not (yield transactions.any_open):  # of which nothing is shared
        group, _ = join_or_lead_each(map(_name_of, due.values()))
        led = _led_by(group, due)
        lease, mark = None, None
        outcome: Outcome[Values] = Ok({})
        try:
            lease = (yield partial(_lease_of, policy, led)) if led else None
            lease = lease if lease and (yield lease.take) else None
            if lease:
                for call in led.values():
                    policy.tell("miss", call.keys[0])
                stamps = yield partial(stamps_of, policy, led)
                outcome, mark = yield from _computed(policy, led, stamps, leads=True)
        finally:
            group.complete()
        if lease:
            yield partial(lease.end, mark)
        if isinstance(outcome, Err):
            return outcome
        values = outcome.value
    return Ok(values | {each: serve(call).value for each, call in due.items() if each not in values})
