"""Where flights of one kind meet those of another: of calls without a stamp, and of many ids."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from cachedeco import bypass
from cachedeco.loading import flights
from cachedeco.loading.flights import NO_RESULTS, Flight, join_or_lead
from cachedeco.loading.found import Found
from cachedeco.loading.load import FlightName, Miss
from cachedeco.runtime import state
from tests.loading.single_flight.callers import Boarding
from tests.support.sides import Side, both
from tests.support.sources import Source
from tests.support.threads import started
from tests.tracking.floors import around

NAME: FlightName = ("default", "key", (b"token",))


def named(name: FlightName) -> Miss:
    """Return a miss of which the flight is called so."""
    miss = Miss(None, Found(["key"]))
    miss.name = name
    return miss


def test_flight_without_a_stamp_tells_its_callers_though_the_next_is_there() -> None:
    """Callers that wait for a flight get its results when it ends, and the next flight goes on."""
    miss, first, second = named(("default", "key", None)), Flight(), Flight()
    join_or_lead(first, [miss])
    first.rename([miss])
    others = join_or_lead(second, [miss])

    first.complete(NO_RESULTS)

    assert ({}, True, False) == (others, first.promise.is_kept, second.promise.is_kept)
    assert {miss.name: second} == flights._flights
    second.complete(NO_RESULTS)


def test_flight_leaves_flights_of_others_where_they_are() -> None:
    """A flight that finds another one under its new name does not end that one."""
    other, flight, miss = Flight(), Flight(), named(("default", "key", ()))
    join_or_lead(other, [named(NAME)])
    join_or_lead(flight, [miss])
    miss.stamp = NAME[2]
    flight.rename([miss])

    flight.complete(NO_RESULTS)

    assert ({NAME: other}, False) == (flights._flights, other.promise.is_kept)
    other.complete(NO_RESULTS)


def test_flight_of_a_parent_is_not_ended_in_a_child() -> None:
    """A child that goes on as the leader that its parent is touches no lock that another thread may have held."""
    flight = Flight()
    join_or_lead(flight, [named(NAME)])
    state.reset_in_child()

    flight.complete(NO_RESULTS)

    assert not flight.promise.is_kept


@both
def test_invalidation_of_a_call_inside_that_went_past_the_cache_is_seen_by_who_comes_after_it(
    side: Side, boarding: Boarding
) -> None:
    """The stamp of a flight tells nothing of what is read past the cache: its value is not for those who come later."""
    source = Source()

    @side.cached(ignore=("source",))
    def inner() -> str:
        return source.read()

    outer = around(side, "outer past the cache", inner, how=bypass)
    source.gate.shut()
    with started(lambda: side.call(outer)) as leader:
        source.gate.wait_reached()
        source.value = "new"
        side.call(inner.invalidate)
        with started(lambda: side.call(outer)) as follower:
            boarding.wait_for_followers(1)
            source.gate.open()

    assert ("old", "new") == (leader.result(), follower.result())


@both
def test_error_is_not_for_those_who_come_after_a_call_inside_was_invalidated(side: Side, boarding: Boarding) -> None:
    """What a computation raises, as what it returns, it has from before the invalidation."""
    source = Source()

    @side.cached(ignore=("source",))
    def inner() -> str:
        return source.value

    outer = around(side, "outer that fails", inner, how=lambda: failing_if_old(source))
    source.gate.shut()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(side.call, outer)
        source.gate.wait_reached()
        source.value = "new"
        side.call(inner.invalidate)
        follower = pool.submit(side.call, outer)
        boarding.wait_for_followers(1)
        source.gate.open()

    assert (LookupError, "new") == (type(leader.exception()), follower.result())


@contextmanager
def failing_if_old(source: Source) -> Iterator[None]:
    """Raise behind the block, and behind the gate, where the truth was "old" before."""
    value = source.value
    yield
    source.gate.wait_to_pass()
    if value == "old":
        raise LookupError
