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
from cachedeco.loading.batch import given, keep_each, looked_up_each, settled_each, stamped_each
from cachedeco.loading.computing import Call, is_servable, served, standing, vouched
from cachedeco.loading.effects import Compute, Outcome, Raised, Stepping, Steps, Value, Wait
from cachedeco.loading.leases import FAILED, LANDED, REFUSALS, Lease, Mark, lease_named, pauses_until
from cachedeco.loading.policy import Terms
from cachedeco.loading.single_flight import Fleet, Name, board_each
from cachedeco.loading.writing import Draft
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.entries import Stamp, is_token
from cachedeco.tracking import collector

Ids = Sequence[Hashable]
Values = dict[Hashable, Any]  # by id; ABSENT for an id that the function does not know
Calls = Mapping[Hashable, Call]  # by id, in the order asked
Otherwise = Callable[[Sequence[str]], None] | None  # called with the keys of entries that could not be stored
# How often a caller computes with others, before he computes alone: what they have stored may be dead by then.
ROUNDS: Final = 2
Stamps = dict[Hashable, Stamp | None]  # by id; None where no entry is to come


class Batch(NamedTuple):
    """A call for many ids, of which some can't simply be served."""

    terms: Terms
    ids: Ids  #: all that were asked for, in order, each once
    values: Values  #: of those that were served
    due: Calls  #: whose entry may still be served
    missing: Calls  #: all others
    bypassed: AbstractSet[Hashable]  #: those of them that this transaction has invalidated


# --- steps of a call ---


def steps_of_batch(batch: Batch) -> Steps[Values]:
    """Serve, refresh and compute what was not simply served."""
    values = dict(batch.values)
    for steps in (_refreshed(batch), _missed(batch)):
        outcome = yield from steps
        if isinstance(outcome, Raised):
            return outcome
        values |= outcome.value
    return Value(given(batch.ids, values))


def steps_of_refresh_each(batch: Batch, otherwise: Otherwise) -> Steps[Values]:
    """Compute and store for all that is missing, whoever else may be doing so."""
    for each in batch.bypassed:
        batch.terms.tell("bypassed", batch.missing[each].keys[0])
    stamps = yield partial(stamps_of, batch.terms, batch.missing, batch.bypassed)
    outcome, _ = yield from _computed(batch.terms, batch.missing, stamps, otherwise=otherwise)
    return outcome if isinstance(outcome, Raised) else Value(given(batch.ids, outcome.value))


def steps_of_bypass_each(function: str, ids: Ids, otherwise: Callable[[], None] | None = None) -> Steps[Values]:
    """Compute, and store nothing; call *otherwise* then. For no ids, nothing at all."""
    if not ids:
        return Value({})
    for _ in ids:
        emit(Event("bypassed", function))
    collector.spoil()
    began = perf_counter()
    outcome: Outcome[Any] = yield Compute((list(ids),))
    if isinstance(outcome, Value):
        emit(Event("computed", function, seconds=perf_counter() - began))
        outcome = yield partial(settled_each, function, outcome.value, ids)
    if isinstance(outcome, Raised):
        return outcome
    if otherwise:
        yield otherwise
    return Value(given(ids, outcome.value))


# --- who computes ---


def _missed(batch: Batch) -> Steps[Values]:
    """Compute for what is missing, or take what other callers compute."""
    terms, left = batch.terms, batch.missing
    for each, call in left.items():
        terms.tell("bypassed" if each in batch.bypassed else "miss", call.keys[0])
    values: Values = {}
    if left and (yield partial(_may_share, batch)):
        deadline = monotonic() + terms.wait
        for _ in range(ROUNDS):
            outcome, left = yield from _shared(terms, left, deadline)
            if isinstance(outcome, Raised):
                return outcome
            values |= outcome.value
            if not left:
                return Value(values)
    if left:
        stamps = yield partial(stamps_of, terms, left, batch.bypassed)
        outcome, _ = yield from _computed(terms, left, stamps)
        return outcome if isinstance(outcome, Raised) else Value(values | outcome.value)
    return Value(values)


def _may_share(batch: Batch) -> bool:
    """Tell whether to compute with others: not where the cache can't be asked, nor where others may be in our way."""
    can_be_asked = all(call.found is not None for call in batch.missing.values())  # nor was any of them bypassed
    return can_be_asked and batch.terms.wait > 0 and not collector.is_leading() and not transactions.any_open()


def _shared(terms: Terms, calls: Calls, deadline: float) -> Stepping[tuple[Outcome[Values], Calls]]:
    """Compute for what nobody computes yet, then wait for the others; give what has come of it, and what is left."""
    fleet, others = board_each(map(_name_of, calls.values()))
    outcome = yield from _led(fleet, terms, _led_by(fleet, calls), deadline)
    if isinstance(outcome, Raised):
        return outcome, {}
    for future in others:
        yield Wait(future, max(0.0, deadline - monotonic()))
    left: Calls = {each: call for each, call in calls.items() if each not in outcome.value}
    if not left:
        return outcome, left
    seen, left, _ = yield partial(_seen, terms, left)
    return Value(outcome.value | seen), left


def _name_of(call: Call) -> Name:
    return call.terms.store.alias, call.keys[0], _known(call)


def _known(call: Call) -> Stamp:
    """Return the tokens as they were read; none where one is absent, as another caller may be minting them."""
    tokens = standing(call)
    return tokens if all(map(is_token, tokens)) else ()


def _led_by(fleet: Fleet, calls: Calls) -> Calls:
    return {each: call for each, call in calls.items() if _name_of(call) in fleet.flights}


def _led(fleet: Fleet, terms: Terms, calls: Calls, deadline: float) -> Steps[Values]:
    """Compute for all who wait for the flights, unless another process does."""
    values: Values = {}
    left, lease = calls, None
    outcome: Outcome[Values] = Value({})
    mark: Mark = None
    leases: list[Lease] = []
    try:
        if calls:
            values, left, lease = yield from _granted(terms, calls, deadline)
        if left:
            leases = [lease] if lease else []
            stamps = yield partial(_stamps_led, fleet, terms, left, leases)
            outcome, mark = yield from _computed(terms, left, stamps, leads=True)
    finally:
        # First of all, and whatever has happened: these wait, and can see for themselves at the worst.
        fleet.land()
    for each in leases:
        yield partial(each.end, mark)
    return outcome if isinstance(outcome, Raised) else Value(values | outcome.value)


def _stamps_led(fleet: Fleet, terms: Terms, calls: Calls, leases: list[Lease]) -> Stamps:
    """
    Return the stamps for the entries to come.

    Who comes now finds the tokens that were minted for them: flights and lease get a second name, of these.
    """
    stamps = stamps_of(terms, calls)
    stamped = {
        each: calls[each]._replace(found=dict(zip(calls[each].keys[1:], stamp, strict=True)))
        for each, stamp in stamps.items()
        if stamp is not None
    }
    renamed = [_name_of(call) for each, call in stamped.items() if not _known(calls[each])]
    if renamed:
        fleet.rename(renamed)
        second = _lease_of(terms, stamped)
        if leases and second.take():
            leases.append(second)
    return stamps


def _granted(terms: Terms, calls: Calls, deadline: float) -> Stepping[tuple[Values, Calls, Lease | None]]:
    """
    Take the lease, or wait for what its holder computes, at most until the deadline.

    Returns:
        What others have computed meanwhile, what is left to compute, and the lease for that; None where we compute
        without.
    """
    values: Values = {}
    lease = yield partial(_lease_of, terms, calls)
    if (yield lease.take):
        return values, calls, lease
    pauses, refusals = pauses_until(deadline), 0
    while refusals < REFUSALS:
        before, (seen, calls, found) = calls, (yield partial(_seen, terms, calls, [lease.key]))
        values |= seen
        mark = found.get(lease.key) if found else None
        if not calls or found is None:
            break
        if mark == lease.owner:  # it was taken, though we were told that it was not
            return values, calls, lease
        is_over = mark in (LANDED, FAILED) or _are_dead(before, calls)
        if mark == FAILED and all(map(is_servable, calls.values())):
            return values | {each: served(call).value for each, call in calls.items()}, {}, None
        if is_over:  # and for these nothing was stored that lives: by an invalidation, or it can't be stored
            after = yield partial(_lease_of, terms, calls)
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


def _lease_of(terms: Terms, calls: Calls) -> Lease:
    """Return the lease for a computation, of the ids that are missing, under the tokens that were read."""
    told = [(call.keys[0], _known(call), call.entry and call.entry.expires) for call in calls.values()]
    seconds = [call.entry.seconds for call in calls.values() if call.entry]
    first = next(iter(calls.values())).keys[0]
    return lease_named(terms.store, first, repr(told).encode(), sum(seconds) if len(seconds) == len(calls) else None)


def _seen(terms: Terms, calls: Calls, also: Sequence[str] = ()) -> tuple[Values, Calls, Mapping[str, object] | None]:
    """Look again; return what others have computed meanwhile, what is left, and all that was found."""
    looks = looked_up_each(terms, [call.keys for call in calls.values()], also)
    values: Values = {}
    left: dict[Hashable, Call] = {}
    for (each, call), (asked, found, entry) in zip(calls.items(), looks, strict=True):
        if entry is not None and entry.expires > time():
            collector.note(terms.store.alias, asked, found)
            terms.tell("shared", call.keys[0], seconds=entry.seconds)
            values[each] = entry.value
        else:
            left[each] = call._replace(asked=asked, found=found, entry=entry)
    return values, left, looks[0][1]


# --- to compute ---


def _computed(
    terms: Terms,
    calls: Calls,
    stamps: Stamps,
    *,
    leads: bool = False,
    otherwise: Otherwise = None,
) -> Stepping[tuple[Outcome[Values], Mark]]:
    """Compute and store; give what the caller gets, and how that is to be remembered."""
    ids = list(calls)
    began = perf_counter()
    with collector.computing(terms.store.alias, collects=terms.nested, leads=leads) as computation:
        outcome: Outcome[Any] = yield Compute((ids,))
        if isinstance(outcome, Value):
            outcome = yield partial(settled_each, terms.function, outcome.value, ids)
    seconds = perf_counter() - began
    if isinstance(outcome, Raised):
        old = (yield from _rescued(terms, calls, outcome.error)) if isinstance(outcome.error, Exception) else None
        return (outcome, None) if old is None else (old, FAILED)
    terms.tell("computed", calls[ids[0]].keys[0], seconds=seconds)
    drafts, inner = [], dict(computation.inner)
    for each, call in calls.items():
        stamp = vouched(call, stamps[each], inner, is_whole=computation.is_whole)
        # A share of the time for each: a hit saves no more than that.
        drafts.append((Draft(terms, call.keys[0], stamp, inner, seconds / len(ids)), outcome.value[each]))
    yield partial(keep_each, drafts, otherwise)
    return outcome, LANDED


def stamps_of(terms: Terms, calls: Calls, bypassed: AbstractSet[Hashable] = frozenset()) -> Stamps:
    """Return the stamps for the entries to come; none for what this transaction has invalidated."""
    stamps: Stamps = dict.fromkeys(bypassed)
    rest = {each: call for each, call in calls.items() if each not in bypassed}
    if rest:
        rows = [call.keys for call in rest.values()]
        stamps |= zip(rest, stamped_each(terms, rows, next(iter(rest.values())).found), strict=True)
    return stamps


def _rescued(terms: Terms, calls: Calls, error: Exception) -> Stepping[Value[Values] | None]:
    """Return the old values, where they may be served for all ids though the computation has raised."""
    if not all(map(is_servable, calls.values())):
        return None
    # What was invalidated while the computation ran is not served, whatever has become of the computation.
    looks = yield partial(looked_up_each, terms, [call.keys for call in calls.values()])
    if any(entry is None for _, _, entry in looks):
        return None
    first = next(iter(calls.values())).keys[0]
    terms.tell("error", first, reason="The computation failed, and the old values were served", error=error)
    again = [call._replace(asked=a, found=f, entry=e) for call, (a, f, e) in zip(calls.values(), looks, strict=True)]
    return Value({each: served(call).value for each, call in zip(calls, again, strict=True)})


# --- to refresh what is still served ---


def _refreshed(batch: Batch) -> Steps[Values]:
    """Serve what is due, or nearly, unless it is this caller who refreshes it."""
    terms, due = batch.terms, batch.due
    values: Values = {}
    if due and not (yield transactions.any_open):  # of which nothing is shared
        fleet, _ = board_each(map(_name_of, due.values()))
        led = _led_by(fleet, due)
        lease, mark = None, None
        outcome: Outcome[Values] = Value({})
        try:
            lease = (yield partial(_lease_of, terms, led)) if led else None
            lease = lease if lease and (yield lease.take) else None
            if lease:
                for call in led.values():
                    terms.tell("miss", call.keys[0])
                stamps = yield partial(stamps_of, terms, led)
                outcome, mark = yield from _computed(terms, led, stamps, leads=True)
        finally:
            fleet.land()
        if lease:
            yield partial(lease.end, mark)
        if isinstance(outcome, Raised):
            return outcome
        values = outcome.value
    return Value(values | {each: served(call).value for each, call in due.items() if each not in values})
