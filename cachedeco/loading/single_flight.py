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

from functools import partial
from time import monotonic, time
from typing import Any

from cachedeco.invalidation import commits, transactions
from cachedeco.loading.computing import compute
from cachedeco.loading.effects import EffectFlow, Err, Flow, Ok, Wait
from cachedeco.loading.flights import NO_RESULTS, Flight, flight_name, join_or_lead
from cachedeco.loading.following import follow
from cachedeco.loading.leases import FAILED, STORED, Held, Lease, LeaseOutcome, claim_stamps, wait_for_holder
from cachedeco.loading.load import Load
from cachedeco.loading.lookup import look_up, may_know_less
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import UNREADABLE, bypass_in_transaction, miss_reason
from cachedeco.loading.serving import serve_found
from cachedeco.loading.stamping import build_stamps
from cachedeco.runtime import hooks
from cachedeco.tracking import collector


def load_flow(load: Load) -> Flow[Values]:
    """Compute and store as a leader, or take leaders' results as a follower. This is all that a miss does."""
    policy, left = load.policy, load
    tables = policy.tables
    if tables is not None and may_know_less(policy, tables, load.found) and (yield tables.load):
        yield partial(_serve_hits, load)
        left = load.unserved
    _emit_misses(left)
    if not (yield must_compute_alone):
        deadline = monotonic() + policy.wait
        may_go_on: Err | bool = True
        while left.misses and may_go_on and deadline > monotonic():
            may_go_on = yield from _load_in_flights(left, deadline)
            if isinstance(may_go_on, Err):
                return may_go_on
            left = load.unserved
    if left.misses:
        _count_dead(left)
        yield partial(build_stamps, policy, left.misses)
        error = yield from compute(left)
        if error is not None:
            return error
    return Ok(load.values)


def _serve_hits(load: Load) -> None:
    """Look calls up by the tables that the function is known to read by now, and serve what is fresh: as hits."""
    misses = [miss for miss in load.misses if not miss.is_unstamped]
    for miss, found in zip(misses, look_up(load.policy, [miss.found.keys for miss in misses]), strict=True):
        miss.look_at(found)
    hits = [miss for miss in misses if miss.found.entry is not None and miss.found.entry.expires > time()]
    served = load.with_misses(hits)
    serve_found(served, served.found)


def _emit_misses(load: Load) -> None:
    """Emit why each call is a miss, or bypasses the cache."""
    policy = load.policy
    for miss in load.misses:
        if miss.is_unstamped:
            policy.emit("bypassed", miss.key, reason=bypass_in_transaction(miss.found.keys))
        else:
            reason, seconds = miss_reason(policy, miss.found)
            policy.codec.tries_to_load |= reason == UNREADABLE
            policy.emit("miss", miss.key, seconds=seconds, reason=reason)


def _count_dead(load: Load) -> None:
    """Count the entries that this caller computes anew, and not once more for each follower."""
    dead = 0
    for miss in load.misses:
        dead += miss.found.entry is None and miss.key in (miss.found.raw or ())
    if dead:
        load.policy.advice.count_dead(load.policy.function, dead)


def must_compute_alone() -> bool:
    """
    Tell whether this caller may not wait for another one.

    It leads, and others wait for it; or it may hold a lock; or this thread has invalidated what it has not sent yet,
    as in `deferred_invalidation()`: what others compute and store meanwhile may be old for it.
    """
    return collector.is_leading() or transactions.any_open() or commits.has_pending()


def _load_in_flights(load: Load, deadline: float) -> EffectFlow[Err | bool]:
    """Lead the flights that have no leader, then wait for the others; return an error, or whether to go on."""
    flight = Flight()
    try:
        for miss in load.misses:
            miss.name = flight_name(load.policy, miss)
        others = join_or_lead(flight, load.misses)
        led = load.with_misses(miss for miss in load.misses if miss not in others) if others else load
        if led.misses:
            error = yield from _lead(flight, led, deadline)
            if error is not None or not others:  # nearly always
                return error or True
    finally:
        flight.complete(NO_RESULTS)  # if it is not complete yet: at worst the followers look again
    results: dict[str, Any] = {}
    for miss, other in others.items():
        seconds = max(0.0, deadline - monotonic())
        landed = yield Wait(other.promise, seconds, partial(_follower_needs_thread, load.policy))
        if landed is None:
            return False  # the wait is over
        if miss.key in landed:
            results[miss.key] = landed[miss.key]
    return (yield from follow(load.with_misses(others), results))


def _follower_needs_thread(policy: CachePolicy) -> bool:
    """Tell whether a follower takes its copy in the thread of Django's connections, rather than on its event loop."""
    return policy.asks_thread or hooks.needs_thread


# --- lead ---


def _lead(flight: Flight, load: Load, deadline: float) -> EffectFlow[Err | None]:
    """Compute for all followers of the flight, unless another process does."""
    for previous in flight.previous:  # each has started, so its leader waits for no flight
        yield Wait(previous.promise, max(0.0, deadline - monotonic()))
    held = Held()
    try:
        lease = yield partial(claim_stamps, load, held)
        flight.rename(load.misses)
        if lease is not None and not held:
            lease = yield from wait_for_holder(load, lease, held, deadline)
            flight.rename(load.unserved.misses)
        return (yield from run_as_leader(flight, load, lease))
    except BaseException:  # an interrupt
        flight.complete(NO_RESULTS)  # first: followers wait for no command to the cache
        held.give_back()
        raise


def run_as_leader(flight: Flight, load: Load, lease: Lease | None) -> EffectFlow[Err | None]:
    """
    Compute what other processes have not, for all followers of the flight, and release the lease.

    After an interrupt the caller completes the flight and gives the lease back: it has both before this begins.
    """
    left, error = load.unserved, None
    if left.misses:
        _count_dead(left)
        error = yield from compute(left, leads=True, marks=[lease.tombstone] if lease else [])
    # Release the followers first: at worst they look the entries up again.
    flight.complete(load.results)
    if lease is not None and (ended := _outcome_to_leave(left, error)) != STORED:
        yield partial(lease.end, ended)
    return error


def _outcome_to_leave(load: Load, error: Err | None) -> LeaseOutcome:
    """Return the outcome to leave in the lease; None, which frees it at once, if there is no result."""
    result = load.misses[0].result  # they were computed together
    if result is None or result.error is None:
        return result and STORED
    return FAILED if error is None else None  # None: the old value was served
