"""
Flights: the computations of this process that run, or are about to start, and their leaders.

A flight is named by the entry's whole key and the call's own tokens as they were read: a caller that arrives after an
invalidation reads other tokens, and never joins a computation that began before it.
"""

from collections.abc import Iterable
from typing import Final

from cachedeco.loading.found import Found
from cachedeco.loading.load import FlightName, Miss, Results
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.promise import Promise
from cachedeco.runtime.locks import RLock

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

    def rename(self, misses: Iterable[Miss]) -> None:
        """
        Register the flight under names that contain the tokens just created, beside those without them.

        A miss without a stamp: callers may no longer join under its name, as they could not notice an invalidation.
        """
        with _lock:
            self.is_renamed = True
            for miss in misses:
                alias, key, _ = miss.name
                if miss.stamp is None:
                    self.started_without_stamp.add(miss.name)
                elif (stamped := (alias, key, miss.stamp)) not in _flights:  # no other leader was quicker
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


_lock = RLock()
_flights: dict[FlightName, Flight] = {}


def join_or_lead(own: Flight, misses: Iterable[Miss]) -> dict[Miss, Flight]:
    """Let a flight lead those of these misses that have no leader; return the flights of the others."""
    others: dict[Miss, Flight] = {}
    with _lock:
        for miss in misses:
            name = miss.name
            flight = _flight_of(name)
            if flight is own:
                continue  # two ids may have one entry: a leader must not wait for itself
            # One that has its results is as good as gone: who joined it would get, again and again, what it can't use.
            if flight is None or flight.promise.is_kept or name in flight.started_without_stamp:
                own.names.add(name)  # first: an interrupt between the two lines leaves no flight behind
                _flights[name] = own
                if flight is not None and not flight.promise.is_kept:
                    own.previous.append(flight)
            else:
                others[miss] = flight
    return others


def _flight_of(name: FlightName) -> Flight | None:
    """Return the flight of a name, or that whose leader creates tokens: a caller may read these before it has them."""
    alias, key, _ = name
    flight = _flights.get(name)
    if flight is None:
        flight = _flights.get((alias, key, ()))
        return None if flight is None or flight.is_renamed else flight
    return flight


def is_computed(policy: CachePolicy, found: Found) -> bool:
    """Tell whether a caller of this process computes the entry at this moment, so that a call would wait for it."""
    flight = _flight_of(flight_name(policy, Miss(None, found)))
    return flight is not None and not flight.promise.is_kept


def flight_name(policy: CachePolicy, miss: Miss) -> FlightName:
    """Return the name of the flight of a miss."""
    has_stamp = miss.found.raw is not None and not miss.is_unstamped
    return policy.store.alias, miss.key, miss.tokens if has_stamp else None
