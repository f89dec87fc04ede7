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
from cachedeco.loading.computing import ABANDONED, Call, Landing, computed, note, rescued
from cachedeco.loading.effects import Outcome, Raised, Stepping, Steps, Value, Wait
from cachedeco.loading.exceptions import copied
from cachedeco.loading.leases import FAILED, LANDED, Mark, Permit, granted
from cachedeco.loading.reading import stamped
from cachedeco.runtime.state import in_each_child
from cachedeco.storage import many_caches
from cachedeco.storage.entries import Stamp
from cachedeco.tracking import collector

# Alias, the entry's key, and the tokens that the call itself depends on; None where the cache could not tell them.
Name = tuple[str, str, Stamp | None]


class Flight:
    """A computation under way in this process, or about to be."""

    __slots__ = ("before", "future", "has_departed", "lock", "name")

    def __init__(self, name: Name, before: "Flight | None" = None, future: "Future[Landing] | None" = None) -> None:
        """Prepare one for others to join."""
        self.name = name
        self.before = before  #: without a stamp: the one that had departed already
        self.has_departed = False
        self.future: Future[Landing] = Future() if future is None else future  #: that of a fleet is one for all
        self.lock = _lock  #: tells the process

    def depart(self) -> None:
        """Begin: from now on, who has no stamp does not join."""
        with _lock:
            self.before, self.has_departed = None, True

    def land(self, landing: Landing) -> None:
        """Tell all who wait. Nobody joins from now on."""
        _land((self,), self.future, landing)


class Fleet(NamedTuple):
    """Flights of one computation."""

    flights: dict[Name, Flight]
    future: "Future[Landing]"

    def rename(self, names: Iterable[Name]) -> None:
        """Let those board, too, who know the flights by these names, as their tokens are there now."""
        with _lock:
            for name in names:
                flight = Flight(name, future=self.future)
                if _flights.setdefault(name, flight) is flight:  # and nobody else was quicker
                    self.flights[name] = flight

    def land(self) -> None:
        """Tell all who wait to see for themselves. Nobody joins from now on."""
        _land(self.flights.values(), self.future, ABANDONED)


_lock = Lock()
_flights: dict[Name, Flight] = {}


def _land(flights: Collection[Flight], future: "Future[Landing]", landing: Landing) -> None:
    with _lock:
        if any(flight.lock is not _lock for flight in flights):
            return  # in a child that was forked meanwhile: nobody waits there
        for flight in flights:
            if _flights.get(flight.name) is flight:  # without a stamp, the next may be there
                del _flights[flight.name]
    future.set_result(landing)


def board(call: Call, stamp: Stamp | None) -> tuple[Flight, bool]:
    """
    Return the flight of a call, and whether it is the caller who leads it. Who leads must land it.

    Without a stamp nothing tells whether there was an invalidation since a computation began. So nobody joins one that
    has departed: all who come during it share the next.
    """
    name = (call.terms.store.alias, call.keys[0], stamp)
    with _lock:
        before = _flights.get(name)
        if before is not None and not (stamp is None and before.has_departed):
            return before, False
        flight = _flights[name] = Flight(name, before)
        return flight, True


def board_each(names: Iterable[Name]) -> tuple[Fleet, list["Future[Landing]"]]:
    """Lead the flights of these names that nobody leads yet; return them, and the futures of the others."""
    future: Future[Landing] = Future()
    led: dict[Name, Flight] = {}
    others: dict[Future[Landing], None] = {}
    with _lock:
        for name in names:
            flight = _flights.get(name)
            if flight is None:
                led[name] = _flights[name] = Flight(name, future=future)
            elif flight.future is not future:
                others[flight.future] = None
    return Fleet(led, future), list(others)


@in_each_child
def _begin_anew() -> None:
    """Forget flights whose leaders a forked child does not have, and a lock that one of them may have held."""
    global _lock  # noqa: PLW0603 -- only here
    _lock = Lock()
    _flights.clear()


# --- steps ---


def steps_of_miss(call: Call) -> Steps[Any]:
    """Compute and store, or take what another caller computes."""
    terms = call.terms
    terms.tell("miss", call.keys[0])
    stamp, is_alone = yield partial(_prepared, call)
    deadline = monotonic() + terms.wait
    while not is_alone and (left := deadline - monotonic()) > 0:
        flight, leads = board(call, stamp)
        if leads:
            return (yield from _led(flight, call, stamp, deadline))
        landing = yield Wait(flight.future, left)
        if landing is None:
            break
        if stamp is not None and not landing.is_whole:  # an invalidation before we came may not be in the stamp
            stamp = None
            continue
        outcome, is_alone = yield from _shared(call, stamp, landing)
        if outcome is not None:
            return outcome
    return (yield from computed(call, stamp))[0]


def _prepared(call: Call) -> tuple[Stamp | None, bool]:
    """Return the stamp for the entry to come, and whether to compute alone."""
    stamp = stamped(call.terms, call.keys, call.found)
    return stamp, collector.is_leading() or transactions.any_open()


def _shared(call: Call, stamp: Stamp | None, landing: Landing) -> Stepping[tuple[Outcome[Any] | None, bool]]:
    """Return what another caller's computation has come to for us, if anything; and if not, whether to wait no more."""
    # The stamp in the flight's name does not tell which calls inside were invalidated before we came.
    inner = list(landing.inner) if stamp is not None else []
    if landing is ABANDONED or (inner and landing.inner != (yield partial(many_caches.asked, call.terms.store, inner))):
        return None, False
    if landing.error is not None:
        return (yield from rescued(call, landing.error)) or Raised(copied(landing.error)), True
    if landing.packed is None:  # to wait for one another would help nobody
        return None, True
    return (yield partial(_copy_of, call, stamp, landing, landing.packed))  # type: ignore[no-any-return] # as it says


def _copy_of(call: Call, stamp: Stamp | None, landing: Landing, packed: bytes) -> tuple[Value[Any] | None, bool]:
    try:
        value = call.terms.shelf.form.unpack(packed)  # made in this process, or of an entry that was unsealed
    except Exception as error:  # noqa: BLE001 -- whatever a class does when it is unpickled
        call.terms.tell("error", call.keys[0], reason="The value can't be unpickled", error=error)
        return None, True
    note(call, stamp, landing.inner)
    call.terms.tell("shared", call.keys[0], seconds=landing.seconds)
    return Value(value), False


def _led(flight: Flight, call: Call, stamp: Stamp | None, deadline: float) -> Steps[Any]:
    """Compute for all who join the flight, unless another process does."""
    landing: Landing | None = ABANDONED
    try:
        if stamp is not None:
            answer = yield from granted(call, stamp, deadline)
        else:
            if flight.before is not None:  # it has departed, so that its leader waits for nobody
                yield Wait(flight.before.future, max(0.0, deadline - monotonic()))
            answer = Permit(None, None)
        landing = None if isinstance(answer, Permit) else answer.landing
    finally:
        if landing is not None:
            flight.land(landing)
    return (yield from flown(flight, call, answer)) if isinstance(answer, Permit) else answer.value


def flown(flight: Flight, call: Call, permit: Permit) -> Steps[Any]:
    """Compute for all who have joined the flight, and end the lease."""
    landing = ABANDONED
    flight.depart()
    try:
        outcome, landing = yield from computed(call, permit.stamp, leads=True)
    finally:
        # First of all, and whatever has happened: these wait, and can see for themselves at the worst.
        flight.land(landing)
    if permit.lease is not None:
        yield partial(permit.lease.end, _mark_of(outcome, landing))
    return outcome


def _mark_of(outcome: Value[Any] | Raised, landing: Landing) -> Mark:
    """Return how the lease ended: it is free at once for others where the computation came to nothing."""
    if landing is ABANDONED:
        return None
    if landing.error is not None:
        return FAILED if isinstance(outcome, Value) else None  # an old one
    return LANDED
