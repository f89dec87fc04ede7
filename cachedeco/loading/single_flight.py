"""
Single flight: one computation in a process for all callers that miss the same entry, against cache stampedes.

A *flight* is one computation with its followers, named by key and stamp: a caller that arrives after an invalidation
reads other tokens, and never joins a computation that began before it. Callers without a stamp never join a flight
that has started. In one process the followers wait for the leader itself; between processes the leader holds a lease,
and the leaders of other processes poll the cache until the entry is there.

A wait is bounded: by `wait` seconds in each call, after which the caller computes. Inside a transaction a caller never
waits, since it may hold the database lock that the computation needs; nor does a leader wait for another leader, so
that there is no deadlock. A value that was computed inside a transaction is never shared: it may contain uncommitted
data.
"""

from collections.abc import Collection, Iterable
from concurrent.futures import Future
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from cachedeco.invalidation import transactions
from cachedeco.loading.computing import NO_RESULT, FlightResult, Miss, compute, propagate_dependencies, stale_fallback
from cachedeco.loading.effects import EffectFlow, Err, Flow, Ok, Outcome, Wait
from cachedeco.loading.exceptions import copy_exception
from cachedeco.loading.leases import FAILED, STORED, LeaseOutcome, Proceed, acquire_or_wait
from cachedeco.loading.reading import build_stamp
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Stamp
from cachedeco.tracking import collector

# Alias, the entry's key, and the tokens that the call itself depends on; None if they could not be read.
FlightName = tuple[str, str, Stamp | None]


class Flight:
    """A computation of this process that runs, or is about to start."""

    __slots__ = ("future", "has_started", "lock", "name", "previous")

    def __init__(
        self, name: FlightName, previous: "Flight | None" = None, future: "Future[FlightResult] | None" = None
    ) -> None:
        """Prepare a flight that others can join."""
        self.name = name
        self.previous = previous  #: without a stamp: the flight of this name that had started already
        self.has_started = False
        self.future: Future[FlightResult] = (
            Future() if future is None else future
        )  #: a group has one for all its flights
        self.lock = _lock  #: identifies the process

    def start(self) -> None:
        """Mark the flight as started. Callers that could not read a stamp may no longer join it."""
        with _lock:
            self.previous, self.has_started = None, True

    def complete(self, flight_result: FlightResult) -> None:
        """Give the result to all followers, and end the flight: no caller joins it any more."""
        _complete((self,), self.future, flight_result)


class FlightGroup(NamedTuple):
    """Flights that share one computation."""

    flights: dict[FlightName, Flight]
    future: "Future[FlightResult]"

    def rename(self, names: Iterable[FlightName]) -> None:
        """Also register the flights under the names that include the newly created tokens."""
        with _lock:
            for name in names:
                flight = Flight(name, future=self.future)
                if _flights.setdefault(name, flight) is flight:  # no other leader was quicker
                    self.flights[name] = flight

    def complete(self) -> None:
        """Release all followers to re-check the cache, and end the flights."""
        _complete(self.flights.values(), self.future, NO_RESULT)


_lock = Lock()
_flights: dict[FlightName, Flight] = {}


def _complete(flights: Collection[Flight], future: "Future[FlightResult]", flight_result: FlightResult) -> None:
    """Remove the flights from the registry, and set the result of their future."""
    with _lock:
        if any(flight.lock is not _lock for flight in flights):
            return  # in a child that was forked during the flight: no follower waits there
        for flight in flights:
            if _flights.get(flight.name) is flight:  # without a stamp, the next flight may have the name
                del _flights[flight.name]
    future.set_result(flight_result)


def join_or_lead(miss: Miss, stamp: Stamp | None) -> tuple[Flight, bool]:
    """
    Return the flight of a call, and whether the caller leads it. A leader must complete it.

    Without a stamp, an invalidation since the start of a computation can't be noticed. So such a caller never joins a
    flight that has started: all that arrive during it share the next one.
    """
    name = (miss.policy.store.alias, miss.keys[0], stamp)
    with _lock:
        previous = _flights.get(name)
        if previous is not None and not (stamp is None and previous.has_started):
            return previous, False
        flight = _flights[name] = Flight(name, previous)
        return flight, True


def join_or_lead_each(names: Iterable[FlightName]) -> tuple[FlightGroup, list["Future[FlightResult]"]]:
    """Lead the flights of these names that have no leader; return them, and the futures of the others."""
    future: Future[FlightResult] = Future()
    led: dict[FlightName, Flight] = {}
    others: dict[Future[FlightResult], None] = {}
    with _lock:
        for name in names:
            flight = _flights.get(name)
            if flight is None:
                led[name] = _flights[name] = Flight(name, future=future)
            elif flight.future is not future:
                others[flight.future] = None
    return FlightGroup(led, future), list(others)


# --- flows ---


def miss_flow(miss: Miss) -> Flow[Any]:
    """Compute and store as a leader, or take a leader's result as a follower."""
    policy = miss.policy
    policy.emit("miss", miss.keys[0])
    stamp, is_alone = yield partial(_prepare, miss)
    deadline = monotonic() + policy.wait
    while not is_alone and (remaining := deadline - monotonic()) > 0:
        flight, leads = join_or_lead(miss, stamp)
        if leads:
            return (yield from _lead(flight, miss, stamp, deadline))
        flight_result = yield Wait(flight.future, remaining)
        if flight_result is None:
            break
        if stamp is not None and not flight_result.is_cacheable:
            stamp = None  # an invalidation of a nested call before this caller arrived may not be in the stamp
            continue
        outcome, is_alone = yield from _follow(miss, stamp, flight_result)
        if outcome is not None:
            return outcome
    return (yield from compute(miss, stamp))[0]


def _prepare(miss: Miss) -> tuple[Stamp | None, bool]:
    """Return the stamp of the new entry, and whether this caller must compute alone."""
    stamp = build_stamp(miss.policy, miss.keys, miss.raw)
    return stamp, collector.is_leading() or transactions.any_open()


def _follow(
    miss: Miss, stamp: Stamp | None, flight_result: FlightResult
) -> EffectFlow[tuple[Outcome[Any] | None, bool]]:
    """Return the leader's result if this caller may use it, and otherwise whether to stop waiting."""
    # The flight's name has no nested tokens: compare those that the leader read with those of now.
    names = list(flight_result.nested_tokens) if stamp is not None else []
    if flight_result is NO_RESULT or (
        names
        and flight_result.nested_tokens != (yield partial(many_caches.get_many_across_caches, miss.policy.store, names))
    ):
        return None, False
    if flight_result.error is not None:
        return (yield from stale_fallback(miss, flight_result.error)) or Err(copy_exception(flight_result.error)), True
    if flight_result.serialized is None:  # an unpicklable result cannot be shared, so waiting again is pointless
        return None, True
    return (yield partial(_load_copy, miss, stamp, flight_result, flight_result.serialized))  # type: ignore[no-any-return] # what _load_copy() returns


def _load_copy(
    miss: Miss, stamp: Stamp | None, flight_result: FlightResult, serialized: bytes
) -> tuple[Ok[Any] | None, bool]:
    try:
        value = miss.policy.codec.serializer.loads(serialized)  # from this process, or from an entry that was verified
    except Exception as error:  # noqa: BLE001 -- unpickling the user's class may raise anything
        miss.policy.emit("error", miss.keys[0], reason="The value can't be unpickled", error=error)
        return None, True
    propagate_dependencies(miss, stamp, flight_result.nested_tokens)
    miss.policy.emit("shared", miss.keys[0], seconds=flight_result.seconds)
    return Ok(value), False


def _lead(flight: Flight, miss: Miss, stamp: Stamp | None, deadline: float) -> Flow[Any]:
    """Compute for all followers of the flight, unless another process does."""
    flight_result: FlightResult | None = NO_RESULT
    try:
        if stamp is not None:
            answer = yield from acquire_or_wait(miss, stamp, deadline)
        else:
            if flight.previous is not None:  # it has started, so its leader waits for no flight
                yield Wait(flight.previous.future, max(0.0, deadline - monotonic()))
            answer = Proceed(None, None)
        flight_result = None if isinstance(answer, Proceed) else answer.flight_result
    finally:
        if flight_result is not None:
            flight.complete(flight_result)
    return (yield from run_as_leader(flight, miss, answer)) if isinstance(answer, Proceed) else answer.value


def run_as_leader(flight: Flight, miss: Miss, permission: Proceed) -> Flow[Any]:
    """Compute for all followers of the flight, and release the lease."""
    flight_result = NO_RESULT
    flight.start()
    try:
        outcome, flight_result = yield from compute(miss, permission.stamp, leads=True)
    finally:
        # Release the followers first, even on error: at worst they re-check the cache.
        flight.complete(flight_result)
    if permission.lease is not None:
        yield partial(permission.lease.end, _lease_outcome(outcome, flight_result))
    return outcome


def _lease_outcome(outcome: Ok[Any] | Err, flight_result: FlightResult) -> LeaseOutcome:
    """Return the outcome to leave in the lease; None, which frees it at once, if there is no result."""
    if flight_result is NO_RESULT:
        return None
    if flight_result.error is not None:
        return FAILED if isinstance(outcome, Ok) else None  # Ok: the old value was served
    return STORED
