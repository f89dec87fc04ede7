"""
Single flight: one computation in a process for all callers that miss the same entry, against cache stampedes.

A *flight* is one computation with its followers. It is named by the entry's whole key and the call's own tokens as they
were read: a caller that arrives after an invalidation reads other tokens, and never joins a computation that began
before it. In one process the followers wait for the leader itself; between processes the leader holds a lease, and the
leaders of other processes poll the cache until the entries are there. A call for many ids leads the flights that have
no leader, computes these together, and then waits for the leaders of the others.

What a follower has read may not be all that the leader's value depends on: a token was absent, or a nested call has
tokens of its own. Then the follower reads the leader's tokens again, after the computation, and takes the value only if
all of them still stand: tokens never repeat, so no invalidation has come between. A result without a stamp proves
nothing. It goes only to callers that joined before the computation began; those that arrive during it share the next
one.

A wait is bounded: by `wait` seconds in each call, after which the caller computes. Inside a transaction a caller never
waits, since it may hold the database lock that the computation needs; nor does a leader wait for another leader, so
that there is no deadlock. A value that was computed inside a transaction is never shared: it may contain uncommitted
data.
"""

from collections.abc import Hashable, Iterable, Mapping
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.invalidation import transactions
from cachedeco.loading.computing import compute
from cachedeco.loading.effects import Anywhere, EffectFlow, Err, Flow, Ok, Outcome, Wait
from cachedeco.loading.exceptions import copy_exception
from cachedeco.loading.found import Found
from cachedeco.loading.leases import (
    FAILED,
    STORED,
    Acquired,
    Held,
    LeaseOutcome,
    claim_stamps,
    take_fresh,
    wait_for_holder,
)
from cachedeco.loading.load import Load
from cachedeco.loading.lookup import look_up
from cachedeco.loading.materializing import Values
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.promise import Promise
from cachedeco.loading.reasons import UNREADABLE, bypass_in_transaction, miss_reason
from cachedeco.loading.results import FlightResult, Results, propagate_dependencies
from cachedeco.loading.serving import stale_fallback
from cachedeco.loading.stamping import Stamps, build_stamps
from cachedeco.loading.tables import may_know_less
from cachedeco.runtime import hooks
from cachedeco.runtime.interrupts import Passes, pass_interrupt
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Stamp
from cachedeco.tracking import collector

# Alias, the entry's whole key, and the call's own tokens: empty if one is absent, None if there is no stamp to have.
FlightName = tuple[str, str, Stamp | None]

# The leader was cancelled or crashed; followers look the entries up again.
NO_RESULTS: Final[Results] = {}


class Flight:
    """A computation of this process that runs, or is about to start: for one entry, or for several."""

    __slots__ = ("is_renamed", "lock", "names", "previous", "promise", "started_without_stamp")

    def __init__(self) -> None:
        """Prepare a flight that has no name, so that no caller can join it yet."""
        self.names: set[FlightName] = set()
        self.is_renamed = False  #: whether its leader has created the tokens that were absent
        self.previous: list[Flight] = []  #: flights of its names that have started without a stamp, and still run
        self.started_without_stamp: set[FlightName] = set()
        self.promise: Promise[Results] = Promise()
        self.lock = _lock  #: identifies the process

    def rename(self, names: Mapping[Hashable, FlightName], stamps: Stamps) -> None:
        """
        Register the flight under names that contain the tokens just created, beside those without them; both are by id.

        A name that gets None has no stamp: callers may no longer join it, as they could not notice an invalidation.
        """
        with _lock:
            self.is_renamed = True
            for each, stamp in stamps.items():
                alias, key, _ = names[each]
                if stamp is None:
                    self.started_without_stamp.add(names[each])
                elif (stamped := (alias, key, stamp)) not in _flights:  # no other leader was quicker
                    self.names.add(stamped)
                    _flights[stamped] = self

    def complete(self, results: Results) -> None:
        """Give the results to all followers, and end the flight: no caller joins it any more."""
        if self.lock is not _lock or (self.promise.is_kept and not self.names):
            return  # it is complete; or it is in a child that was forked during the flight: no follower waits there
        # First: an interrupt before the next lines leaves a flight without followers, and not followers without it.
        self.promise.keep(results)
        with _lock:
            for name in self.names:
                if _flights.get(name) is self:  # without a stamp, the next flight may have the name
                    del _flights[name]
            self.names, self.previous = set(), []


_lock = Lock()
_flights: dict[FlightName, Flight] = {}


def join_or_lead(own: Flight, names: Iterable[FlightName]) -> dict[FlightName, Flight]:
    """Let a flight lead those of these names that have no leader; return the flights of the others, by name."""
    others: dict[FlightName, Flight] = {}
    with _lock:
        for name in dict.fromkeys(names):  # two ids may have one entry: a leader must not wait for itself
            flight = _flights.get(name) or _flight_that_creates_tokens(name)
            # One that has its results is as good as gone: who joined it would get, again and again, what it can't use.
            if flight is None or flight.promise.is_kept or name in flight.started_without_stamp:
                own.names.add(name)  # first: an interrupt between the two lines leaves no flight behind
                _flights[name] = own
                if flight is not None and not flight.promise.is_kept:
                    own.previous.append(flight)
            else:
                others[name] = flight
    return others


def _flight_that_creates_tokens(name: FlightName) -> Flight | None:
    """Return the flight of an entry whose leader creates tokens: a caller may read these before the flight has them."""
    alias, key, _ = name
    flight = _flights.get((alias, key, ()))
    return None if flight is None or flight.is_renamed else flight


def is_computed(policy: CachePolicy, found: Found) -> bool:
    """Tell whether a caller of this process computes the entry at this moment, so that a call would follow it."""
    names: list[FlightName] = [(policy.store.alias, found.key, each) for each in {(), found.tokens, None}]
    return any(name in _flights for name in names)


# --- flows ---


def load_flow(load: Load) -> Flow[Values]:
    """Compute and store as a leader, or take leaders' results as a follower."""
    policy = load.policy
    values: Values = {}
    tables = policy.tables
    if tables is not None and may_know_less(policy, tables, load.misses) and (yield tables.load):
        load, values = yield partial(_look_again, load)
    for each, found in load.misses.items():
        key = found.key
        if each in load.unstamped:
            policy.emit("bypassed", key, reason=bypass_in_transaction(found.keys))
        else:
            reason, seconds = miss_reason(policy, found)
            policy.advice.is_unreadable |= reason == UNREADABLE
            policy.emit("miss", key, seconds=seconds, reason=reason)
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
    outcome, joined, may_go_on = yield from _follow(joined, results)
    return outcome if isinstance(outcome, Err) else Ok(values | outcome.value), joined, may_go_on


def _follower_needs_thread(policy: CachePolicy) -> bool:
    """Tell whether a follower takes its copy in the thread of Django's connections, rather than on its event loop."""
    return policy.asks_thread or hooks.needs_thread


def flight_name(load: Load, each: Hashable, found: Found) -> FlightName:
    """Return the name of the flight of one id."""
    has_stamp = found.raw is not None and each not in load.unstamped
    return load.policy.store.alias, found.key, found.tokens if has_stamp else None


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


# --- follow ---


def _follow(load: Load, results: Mapping[str, FlightResult]) -> EffectFlow[tuple[Outcome[Values], Load, bool]]:
    """Take the leaders' results that this caller may use; return what is left to load, and whether to wait again."""
    policy, may_go_on = load.policy, True
    values: Values = {}
    standing = (yield Anywhere(_standing, load, results)) if results else set()
    keys = {found.key for found in load.misses.values()}
    unstamped: set[Hashable] = set()
    for each, found in load.misses.items():
        result = results.get(found.key)
        if result is None or found.key not in standing:
            continue
        if result.error is None and not result.is_cacheable and each not in load.unstamped and found.raw is not None:
            # An invalidation of a nested call, before this caller arrived, may not be in the value: share the next.
            unstamped.add(each)
        elif result.error is not None:
            # The error of a computation for other ids, too, may be that of the others: share the next one.
            if result.computed_with <= keys:
                propagate_dependencies(policy, found, result)  # as the leader does
                fallback = yield from stale_fallback(load, result.error)
                return fallback or Err(copy_exception(result.error)), load.only(set()), False
        elif result.serialized is None:  # an unpicklable value can't be shared, so waiting again is pointless
            may_go_on = False
        else:
            taken = yield Anywhere(_load_copy, policy, found, result, result.serialized)
            may_go_on = may_go_on and taken is not None
            values |= {} if taken is None else {each: taken.value}
    left = load.only(load.misses.keys() - values.keys())._replace(unstamped=load.unstamped | unstamped)
    if may_go_on and left.misses:
        left, fresh = yield partial(_look_again, left)
        values |= fresh
    return Ok(values), left, may_go_on


def _standing(load: Load, results: Mapping[str, FlightResult], passes: Passes = ()) -> set[str]:
    """
    Return the keys of the results whose tokens still stand; one read for all that this caller has not compared.

    Raises:
        SynchronousOnlyOperation: If *passes* is that, and there is something to read.
    """
    tokens: dict[str, bytes] = {}
    unsure: list[tuple[Found, FlightResult]] = []
    standing: set[str] = set()
    for found, result in [(each, results[each.key]) for each in load.misses.values() if each.key in results]:
        if result.stamp is None or (result.stamp == found.tokens and not result.nested_tokens):
            standing.add(found.key)
        elif len(result.stamp) == len(found.keys) - 1:  # else the function is known to read other tables by now
            unsure.append((found, result))
            tokens |= _tokens_of(found, result)
    if tokens and passes:
        raise SynchronousOnlyOperation
    if tokens:
        now: Any = many_caches.get_many_across_caches(load.policy.store, list(tokens)) or {}
        standing.update(
            found.key
            for found, result in unsure
            if all(now.get(name) == token for name, token in _tokens_of(found, result).items())
        )
    return standing


def _tokens_of(found: Found, result: FlightResult) -> dict[str, bytes]:
    """Return the tokens that a result depends on, by key: those that this caller has read itself are left out."""
    stamp = result.stamp or ()
    own = {} if stamp == found.tokens else dict(zip(found.keys[1:], stamp, strict=False))
    return {**result.nested_tokens, **own}  # of a token that was read twice, the older one


def _load_copy(
    policy: CachePolicy, found: Found, result: FlightResult, serialized: bytes, passes: Passes = ()
) -> Ok[Any] | None:
    try:
        value = policy.codec.serializer.loads(serialized)  # from this process, or from an entry that was verified
    except Exception as error:  # noqa: BLE001 -- unpickling the user's class may raise anything
        pass_interrupt(error, passes)
        policy.advice.is_unreadable = True
        policy.emit("error", found.key, reason="The value can't be unpickled", error=error)
        return None
    propagate_dependencies(policy, found, result)
    policy.emit("shared", found.key, seconds=result.seconds)
    return Ok(value)


def _look_again(load: Load) -> tuple[Load, Values]:
    """Look up what no leader has given; return what is left to load, and the values that are stored by now."""
    wanted = {each: found.keys for each, found in load.misses.items() if each not in load.unstamped}
    again = dict(zip(wanted, look_up(load.policy, list(wanted.values())), strict=True)) if wanted else {}
    load = load._replace(misses={**load.misses, **again})
    values: Values = {}
    return take_fresh(load, values, {}), values
