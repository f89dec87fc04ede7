"""The library with one line of defence taken away: a schedule must be found in which it is missed."""

from types import SimpleNamespace
from typing import Any

from cachedeco.loading import single_flight
from cachedeco.loading.computing import FlightResult, Miss
from cachedeco.loading.reading import build_stamp
from cachedeco.loading.single_flight import Flight
from cachedeco.tracking import collector
from tests.schedules import scenarios
from tests.schedules.explorer import Scenario


class _Anything:
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def _stamped_late(call: Miss, *_: object, **__: object) -> Any:
    return build_stamp(call.policy, call.keys, call.policy.store.get_many(call.keys[1:]))


def _note_the_last(alias: str, keys: Any, found: Any) -> None:
    computation = collector.innermost.get()
    if computation is not None and computation.collects:
        assert alias == computation.alias
        computation.nested_tokens |= {key: found[key] for key in keys[1:]}


def _land_by_name(flight: Flight, landing: FlightResult) -> None:
    if single_flight._flights.pop(flight.name, None) is flight:
        flight.future.set_result(landing)


_board = single_flight.join_or_lead
_blind = SimpleNamespace(get_many_across_caches=lambda _store, _names: _Anything())

# What is replaced in cachedeco, by what, and where it is missed.
WEAKENED: dict[str, tuple[str, Any, str]] = {
    "stamp read after the computation": (
        "loading.computing.stamp_if_cacheable",
        _stamped_late,
        "two readers, one writer, own token",
    ),
    "flights named by key alone": (
        "loading.single_flight.join_or_lead",
        lambda call, _stamp: _board(call, ()),
        "two readers, one writer, own token",
    ),
    "followers who do not look inside": ("loading.single_flight.many_caches", _blind, "a call inside a call, last"),
    "calls inside that are not noted": (
        "loading.computing.propagate_dependencies",
        lambda *_: None,
        "a call inside a call, first",
    ),
    "calls inside noted by the last token": (
        "tracking.collector.record_dependency",
        _note_the_last,
        "a call inside a call twice",
    ),
    "flights without a stamp that do not depart": (
        "loading.single_flight.Flight.start",
        lambda _flight: None,
        "three readers of a cache that can't be read, one writer",
    ),
    "flights that land by their name": (
        "loading.single_flight.Flight.complete",
        _land_by_name,
        "three readers of a cache that can't be read do not wait in vain",
    ),
    "leases without a mark": (
        "loading.leases.Lease.end",
        lambda lease, _mark: lease.store.delete(lease.key),
        "two processes compute once",
    ),
    "no leases": ("loading.leases.Lease.take", lambda _lease: True, "two processes compute once"),
}


def scenario(name: str) -> Scenario:
    """Return the small scenario of a name."""
    return next(each for each in scenarios.SMALL if each.name == name)
