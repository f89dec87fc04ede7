"""The library with one line of defence taken away: a schedule must be found in which it is missed."""

from typing import Any

from cachedeco.loading import single_flight
from cachedeco.loading.computing import Load, Results
from cachedeco.loading.leases import Held, claim_stamps
from cachedeco.loading.lookup import Found
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.single_flight import Flight
from cachedeco.loading.stamping import build_stamps
from cachedeco.loading.writing import store_entries
from cachedeco.tracking import collector
from tests.schedules import scenarios, simulation
from tests.schedules.explorer import Scenario


def _stamped_late(policy: CachePolicy, found: Found, *_: object, **__: object) -> Any:
    now = Found(found.keys, policy.store.get_many(found.keys[1:]))
    return build_stamps(policy, {None: now})[0][None], ""


def _note_the_last(alias: str, keys: Any, found: Any, _use: object = None) -> None:
    computation = collector.innermost.get()
    if computation is not None and computation.collects:
        assert alias == computation.alias
        computation.tokens |= {key: found[key] for key in keys[1:]}


def _complete_by_name(flight: Flight, results: Results) -> None:
    for name in flight.names:
        if single_flight._flights.pop(name, None) is flight and not flight.promise.is_kept:
            flight.promise.keep(results)


def _stored_without_marks(policy: CachePolicy, entries: Any, on_failure: Any = None, marks: Any = ()) -> None:
    _store(policy, entries, on_failure)
    for key, _, _ in marks:
        policy.store.delete(key)


def _claimed_always(load: Load, held: Held) -> Any:
    stamps, lease = _claim(load, held)
    held[:] = [lease] if lease else []
    return stamps, lease


def _thoughtful(*args: Any, **kwargs: Any) -> Any:
    """Take time between the last row that is read and the end of the computation."""
    simulation.step("row", ("think",), lambda: None)
    return materialize(*args, **kwargs)


_store, _claim = store_entries, claim_stamps
NOT_LOOKED_AGAIN = {"loading.single_flight._standing": lambda _load, results: set(results)}

# What is replaced in cachedeco, by what, and where it is missed.
WEAKENED: dict[str, tuple[dict[str, Any], str]] = {
    "stamp read after the computation": (
        {"loading.computing.stamp_if_cacheable": _stamped_late},
        "two readers, one writer, own token",
    ),
    "flights named by key alone, whose followers do not look again": (
        {
            "loading.single_flight.flight_name": lambda load, _each, found: (load.policy.store.alias, found.key, ()),
            **NOT_LOOKED_AGAIN,
        },
        "two readers, one writer, own token",
    ),
    "followers who do not look again": (NOT_LOOKED_AGAIN, "a call inside a call, last"),
    "calls inside that are not noted": (
        {"loading.computing.propagate_dependencies": lambda *_: None},
        "a call inside a call, first",
    ),
    "calls inside noted by the last token": (
        {"tracking.collector.record_dependency": _note_the_last},
        "a call inside a call twice",
    ),
    "flights without a stamp that do not depart": (
        {"loading.single_flight.Flight.rename": lambda *_: None, "loading.computing.materialize": _thoughtful},
        "three readers of a cache that can't be read, one writer",
    ),
    "flights that land by their name": (
        {"loading.single_flight.Flight.complete": _complete_by_name},
        "three readers of a cache that can't be read do not wait in vain",
    ),
    "leases without a mark": (
        {"loading.computing.store_entries": _stored_without_marks},
        "two processes compute once",
    ),
    "no leases": ({"loading.single_flight.claim_stamps": _claimed_always}, "two processes compute once"),
}


def scenario(name: str) -> Scenario:
    """Return the small scenario of a name."""
    return next(each for each in scenarios.SMALL if each.name == name)
