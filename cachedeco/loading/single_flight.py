"""
Flights: one computation, whoever asks.

A *flight* is one computation under way, named by key and stamp: who arrives after an invalidation finds other tokens,
and never joins a computation that began before it. Where no stamp can be had, nobody joins one that has begun. In one
process the others wait for the flight itself; between processes its leader holds a lease, and the leaders in other
processes look again and again until the entry is there.

Nobody waits without bound: at most `wait` seconds in each call, and then they compute. Nobody waits inside a
transaction, as it may hold the very lock that the computation needs; nor while others may be waiting for them, so that
there are no circles. Nor does anybody share what was computed inside a transaction: it may hold what nobody else may
see.
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

# Alias, the entry's key, and the tokens that the call itself depends on; None where the cache could not tell them.
Name = tuple[str, str, Stamp | None]


class Flight:
    """A computation under way in this process, or about to be."""

    __slots__ = ("before", "future", "has_started", "lock", "name")

    def __init__(
        self, name: Name, before: "Flight | None" = None, future: "Future[FlightResult] | None" = None
    ) -> None:
        """Prepare one for others to join."""
        self.name = name
        self.before = before  #: without a stamp: the one that had departed already
        self.has_started = False
        self.future: Future[FlightResult] = Future() if future is None else future  #: that of a fleet is one for all
        self.lock = _lock  #: tells the process

    def start(self) -> None:
        """Begin: from now on, who has no stamp does not join."""
        with _lock:
            self.before, self.has_started = None, True

    def complete(self, flight_result: FlightResult) -> None:
        """Tell all who wait. Nobody joins from now on."""
        _complete((self,), self.future, flight_result)


class FlightGroup(NamedTuple):
    """Flights of one computation."""

    flights: dict[Name, Flight]
    future: "Future[FlightResult]"

    def rename(self, names: Iterable[Name]) -> None:
        """Let those board, too, who know the flights by these names, as their tokens are there now."""
        with _lock:
            for name in names:
                flight = Flight(name, future=self.future)
                if _flights.setdefault(name, flight) is flight:  # and nobody else was quicker
                    self.flights[name] = flight

    def complete(self) -> None:
        """Tell all who wait to see for themselves. Nobody joins from now on."""
        _complete(self.flights.values(), self.future, NO_RESULT)


_lock = Lock()
_flights: dict[Name, Flight] = {}


def _complete(flights: Collection[Flight], future: "Future[FlightResult]", flight_result: FlightResult) -> None:
    with _lock:
        if any(flight.lock is not _lock for flight in flights):
            return  # in a child that was forked meanwhile: nobody waits there
        for flight in flights:
            if _flights.get(flight.name) is flight:  # without a stamp, the next may be there
                del _flights[flight.name]
    future.set_result(flight_result)


def join_or_lead(call: Miss, stamp: Stamp | None) -> tuple[Flight, bool]:
    """
    Return the flight of a call, and whether it is the caller who leads it. Who leads must land it.

    Without a stamp nothing tells whether there was an invalidation since a computation began. So nobody joins one that
    has departed: all who come during it share the next.
    """
    name = (call.policy.store.alias, call.keys[0], stamp)
    with _lock:
        before = _flights.get(name)
        if before is not None and not (stamp is None and before.has_started):
            return before, False
        flight = _flights[name] = Flight(name, before)
        return flight, True


def join_or_lead_each(names: Iterable[Name]) -> tuple[FlightGroup, list["Future[FlightResult]"]]:
    """Lead the flights of these names that nobody leads yet; return them, and the futures of the others."""
    future: Future[FlightResult] = Future()
    led: dict[Name, Flight] = {}
    others: dict[Future[FlightResult], None] = {}
    with _lock:
        for name in names:
            flight = _flights.get(name)
            if flight is None:
                led[name] = _flights[name] = Flight(name, future=future)
            elif flight.future is not future:
                others[flight.future] = None
    return FlightGroup(led, future), list(others)


# --- steps ---


def miss_flow(call: Miss) -> Flow[Any]:
    """Compute and store, or take what another caller computes."""
    policy = call.policy
    policy.tell("miss", call.keys[0])
    stamp, is_alone = yield partial(_prepared, call)
    deadline = monotonic() + policy.wait
    while not is_alone and (left := deadline - monotonic()) > 0:
        flight, leads = join_or_lead(call, stamp)
        if leads:
            return (yield from _led(flight, call, stamp, deadline))
        flight_result = yield Wait(flight.future, left)
        if flight_result is None:
            break
        if (
            stamp is not None and not flight_result.is_cacheable
        ):  # an invalidation before we came may not be in the stamp
            stamp = None
            continue
        outcome, is_alone = yield from _shared(call, stamp, flight_result)
        if outcome is not None:
            return outcome
    return (yield from compute(call, stamp))[0]


def _prepared(call: Miss) -> tuple[Stamp | None, bool]:
    """Return the stamp for the entry to come, and whether to compute alone."""
    stamp = build_stamp(call.policy, call.keys, call.found)
    return stamp, collector.is_leading() or transactions.any_open()


def _shared(
    call: Miss, stamp: Stamp | None, flight_result: FlightResult
) -> EffectFlow[tuple[Outcome[Any] | None, bool]]:
    """Return what another caller's computation has come to for us, if anything; and if not, whether to wait no more."""
    # The stamp in the flight's name does not tell which calls inside were invalidated before we came.
    inner = list(flight_result.inner) if stamp is not None else []
    if flight_result is NO_RESULT or (
        inner and flight_result.inner != (yield partial(many_caches.get_many_across_caches, call.policy.store, inner))
    ):
        return None, False
    if flight_result.error is not None:
        return (yield from stale_fallback(call, flight_result.error)) or Err(copy_exception(flight_result.error)), True
    if flight_result.packed is None:  # to wait for one another would help nobody
        return None, True
    return (yield partial(_copy_of, call, stamp, flight_result, flight_result.packed))  # type: ignore[no-any-return] # as it says


def _copy_of(
    call: Miss, stamp: Stamp | None, flight_result: FlightResult, packed: bytes
) -> tuple[Ok[Any] | None, bool]:
    try:
        value = call.policy.codec.serializer.loads(packed)  # made in this process, or of an entry that was unsealed
    except Exception as error:  # noqa: BLE001 -- whatever a class does when it is unpickled
        call.policy.tell("error", call.keys[0], reason="The value can't be unpickled", error=error)
        return None, True
    propagate_dependencies(call, stamp, flight_result.inner)
    call.policy.tell("shared", call.keys[0], seconds=flight_result.seconds)
    return Ok(value), False


def _led(flight: Flight, call: Miss, stamp: Stamp | None, deadline: float) -> Flow[Any]:
    """Compute for all who join the flight, unless another process does."""
    flight_result: FlightResult | None = NO_RESULT
    try:
        if stamp is not None:
            answer = yield from acquire_or_wait(call, stamp, deadline)
        else:
            if flight.before is not None:  # it has departed, so that its leader waits for nobody
                yield Wait(flight.before.future, max(0.0, deadline - monotonic()))
            answer = Proceed(None, None)
        flight_result = None if isinstance(answer, Proceed) else answer.flight_result
    finally:
        if flight_result is not None:
            flight.complete(flight_result)
    return (yield from run_as_leader(flight, call, answer)) if isinstance(answer, Proceed) else answer.value


def run_as_leader(flight: Flight, call: Miss, permit: Proceed) -> Flow[Any]:
    """Compute for all who have joined the flight, and end the lease."""
    flight_result = NO_RESULT
    flight.start()
    try:
        outcome, flight_result = yield from compute(call, permit.stamp, leads=True)
    finally:
        # First of all, and whatever has happened: these wait, and can see for themselves at the worst.
        flight.complete(flight_result)
    if permit.lease is not None:
        yield partial(permit.lease.end, _mark_of(outcome, flight_result))
    return outcome


def _mark_of(outcome: Ok[Any] | Err, flight_result: FlightResult) -> LeaseOutcome:
    """Return how the lease ended: it is free at once for others where the computation came to nothing."""
    if flight_result is NO_RESULT:
        return None
    if flight_result.error is not None:
        return FAILED if isinstance(outcome, Ok) else None  # an old one
    return STORED
