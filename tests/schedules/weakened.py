"""The library with one line of defence taken away: a schedule must be found in which it is missed."""

from functools import partial
from types import SimpleNamespace
from typing import Any

from cachedeco import auditing, flights, nesting
from cachedeco.computing import Call, Landing
from cachedeco.flights import Flight
from cachedeco.keeping import stamped
from cachedeco.steps import Value
from tests.schedules import scenarios
from tests.schedules.explorer import Scenario


class _Anything:
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def _stamped_late(call: Call, *_: object, **__: object) -> Any:  # noqa: ANN401 -- a stamp
    return stamped(call.terms, call.keys, call.terms.store.get_many(call.keys[1:]))


def _note_the_last(alias: str, keys: Any, found: Any) -> None:  # noqa: ANN401 -- as nesting.note()
    computation = nesting.innermost.get()
    if computation is not None and computation.collects:
        assert alias == computation.alias
        computation.inner |= {key: found[key] for key in keys[1:]}


def _land_by_name(flight: Flight, landing: Landing) -> None:
    if flights._flights.pop(flight.name, None) is flight:  # noqa: SLF001 -- as the library itself
        flight.future.set_result(landing)


def _accused_at_once(sample: auditing.Sample) -> Any:  # noqa: ANN401 -- steps
    differing = yield from auditing._looked_at(sample)  # noqa: SLF001 -- as the library itself
    yield partial(auditing._reported, sample, differing)  # noqa: SLF001
    return Value(None)


_board = flights.board
_blind = SimpleNamespace(is_leading=nesting.is_leading, asked=lambda _store, _names: _Anything())

# What is replaced in cachedeco, by what, and where it is missed.
WEAKENED: dict[str, tuple[str, Any, str]] = {
    "stamp read after the computation": ("computing.vouched", _stamped_late, "two readers, one writer, own token"),
    "flights named by key alone": (
        "flights.board",
        lambda call, _stamp: _board(call, ()),
        "two readers, one writer, own token",
    ),
    "followers who do not look inside": ("flights.nesting", _blind, "a call inside a call, last"),
    "calls inside that are not noted": ("computing.note", lambda *_: None, "a call inside a call, first"),
    "calls inside noted by the last token": ("nesting.note", _note_the_last, "a call inside a call twice"),
    "flights without a stamp that do not depart": (
        "flights.Flight.depart",
        lambda _flight: None,
        "three readers of a cache that can't be read, one writer",
    ),
    "flights that land by their name": (
        "flights.Flight.land",
        _land_by_name,
        "three readers of a cache that can't be read do not wait in vain",
    ),
    "leases without a mark": (
        "leases.Lease.end",
        lambda lease, _mark: lease.store.delete(lease.key),
        "two processes compute once",
    ),
    "audits that look once": ("auditing._first_look", _accused_at_once, "a hit is audited, own token"),
    "audits that do not look at the tokens": (
        "auditing._unexplained",
        lambda _sample, ids: list(ids),
        "a hit is audited, own token",
    ),
    "no leases": ("leases.Lease.take", lambda _lease: True, "two processes compute once"),
}


def scenario(name: str) -> Scenario:
    """Return the small scenario of a name."""
    return next(each for each in scenarios.SMALL if each.name == name)
