"""
Single flight: one computation in a process for all callers that miss the same entry, against cache stampedes.

A *flight* is one computation with its followers: see `flights`. In one process the followers wait for the leader
itself; between processes the leader holds a lease, and the leaders of other processes poll the cache until the entries
are there. A call for many ids leads the flights that have no leader, computes these together, and then waits for the
leaders of the others: see `following`.

A wait is bounded: by `wait` seconds in each call, after which the caller computes. Inside a transaction a caller never
waits, since it may hold the database lock that the computation needs; nor does a leader wait for another leader, so
that there is no deadlock. A value that was computed inside a transaction is never shared: it may contain uncommitted
data.
"""

from collections.abc import Hashable, Mapping
from functools import partial
from time import monotonic

from cachedeco.invalidation import transactions
from cachedeco.loading.computing import compute
from cachedeco.loading.effects import EffectFlow, Err, Flow, Ok, Outcome, Wait
from cachedeco.loading.flights import NO_RESULTS, Flight, FlightName, flight_name, join_or_lead
from cachedeco.loading.following import follow, look_again
from cachedeco.loading.leases import FAILED, STORED, Acquired, Held, LeaseOutcome, claim_stamps, wait_for_holder
from cachedeco.loading.load import Load
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import UNREADABLE, bypass_in_transaction, miss_reason
from cachedeco.loading.results import FlightResult, Results
from cachedeco.loading.stamping import build_stamps
from cachedeco.loading.tables import may_know_less
from cachedeco.runtime import hooks
from cachedeco.tracking import collector


def load_flow(load: Load) -> Flow[Values]:
    """Compute and store as a leader, or take leaders' results as a follower. This is all that a miss does."""
    policy = load.policy
    values: Values = {}
    tables = policy.tables
    if tables is not None and may_know_less(policy, tables, load.misses) and (yield tables.load):
        load, values = yield partial(look_again, load)
    _emit_misses(load)
    if not (yield _must_compute_alone):
        deadline = monotonic() + policy.wait
        while load.misses and deadline > monotonic():
            outcome, load, may_go_on = yield from _load_in_flights(load, deadline)
            if isinstance(outcome, Err):
                return outcome
            values |= outcome.value
            if not may_go_on:
                break
    if load.misses:
        _count_dead(load)
        stamps, _ = yield partial(build_stamps, policy, load.misses, load.unstamped)
        outcome, _ = yield from compute(load, stamps)
        return outcome if isinstance(outcome, Err) else Ok(values | outcome.value)
    return Ok(values)


def _emit_misses(load: Load) -> None:
    """Emit why each call is a miss, or bypasses the cache."""
    policy = load.policy
    for each, found in load.misses.items():
        key = found.key
        if each in load.unstamped:
            policy.emit("bypassed", key, reason=bypass_in_transaction(found.keys))
        else:
            reason, seconds = miss_reason(policy, found)
            policy.advice.is_unreadable |= reason == UNREADABLE
            policy.emit("miss", key, seconds=seconds, reason=reason)


def _count_dead(load: Load) -> None:
    """Count the entries that this caller computes anew, and not once more for each follower."""
    dead = 0
    for found in load.misses.values():
        dead += found.entry is None and found.key in (found.raw or ())
    if dead:
        load.policy.advice.count_dead(load.policy.function, dead)


def _must_compute_alone() -> bool:
    """Tell whether this caller may not wait: it leads, and others wait for it; or it may hold a lock."""
    return collector.is_leading() or transactions.any_open()


def _load_in_flights(load: Load, deadline: float) -> EffectFlow[tuple[Outcome[Values], Load, bool]]:
    """Lead the flights that have no leader, then wait for the others; return what is left, and whether to go on."""
    names = {each: flight_name(load, each, found) for each, found in load.misses.items()}
    values: Values = {}
    flight = Flight()
    try:
        others = join_or_lead(flight, names.values())
        led = load.only({each for each, name in names.items() if name not in others}) if others else load
        if led.misses:
            outcome = yield from _lead(flight, led, names, deadline)
            if isinstance(outcome, Err):
                return outcome, load, False
            if not others:  # nearly always
                return outcome, load.with_misses({}), True
            values |= outcome.value
    finally:
        flight.complete(NO_RESULTS)  # if it is not complete yet: at worst the followers look again
    joined = load.only({each for each, name in names.items() if name in others})
    results: dict[str, FlightResult] = {}
    for each, found in joined.misses.items():
        seconds = max(0.0, deadline - monotonic())
        needs_thread = partial(_follower_needs_thread, load.policy)
        landed = yield Wait(others[names[each]].promise, seconds, needs_thread)
        if landed is None:
            return Ok(values), joined, False  # the wait is over
        if found.key in landed:
            results[found.key] = landed[found.key]
    outcome, joined, may_go_on = yield from follow(joined, results)
    return outcome if isinstance(outcome, Err) else Ok(values | outcome.value), joined, may_go_on


def _follower_needs_thread(policy: CachePolicy) -> bool:
    """Tell whether a follower takes its copy in the thread of Django's connections, rather than on its event loop."""
    return policy.asks_thread or hooks.needs_thread


# --- lead ---


def _lead(flight: Flight, load: Load, names: Mapping[Hashable, FlightName], deadline: float) -> Flow[Values]:
    """Compute for all followers of the flight, unless another process does."""
    for previous in flight.previous:  # each has started, so its leader waits for no flight
        yield Wait(previous.promise, max(0.0, deadline - monotonic()))
    held = Held()
    try:
        acquired = yield partial(claim_stamps, load, held)
        flight.rename(names, acquired.stamps)
        if acquired.lease is not None and not held:
            acquired = yield from wait_for_holder(acquired, acquired.lease, held, deadline)
            flight.rename(names, {each: acquired.stamps[each] for each in acquired.load.misses})
        if not acquired.load.misses:
            flight.complete(acquired.results)
            return Ok(acquired.values)
        outcome = yield from run_as_leader(flight, acquired)
    except BaseException:  # an interrupt
        flight.complete(NO_RESULTS)  # first: followers wait for no command to the cache
        held.give_back()
        raise
    return outcome if isinstance(outcome, Err) or not acquired.values else Ok(acquired.values | outcome.value)


def run_as_leader(flight: Flight, acquired: Acquired) -> Flow[Values]:
    """
    Compute for all followers of the flight, and release the lease.

    After an interrupt the caller completes the flight and gives the lease back: it has both before this begins.
    """
    load, stamps, lease, _, results = acquired
    _count_dead(load)
    outcome, computed = yield from compute(load, stamps, leads=True, marks=[lease.tombstone] if lease else [])
    # Release the followers first: at worst they look the entries up again.
    flight.complete({**results, **computed})
    if lease is not None and (ended := _outcome_to_leave(outcome, computed)) != STORED:
        yield partial(lease.end, ended)
    return outcome


def _outcome_to_leave(outcome: Outcome[Values], results: Results) -> LeaseOutcome:
    """Return the outcome to leave in the lease; None, which frees it at once, if there is no result."""
    for result in results.values():
        if result.error is not None:
            return FAILED if isinstance(outcome, Ok) else None  # Ok: the old value was served
    return STORED if results else None
