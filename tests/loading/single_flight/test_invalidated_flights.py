"""A caller after an invalidation never gets what was computed before it, from any leader."""

import pickle
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cachedeco import Namespace, cached_query, deferred_invalidation
from cachedeco.loading import leases
from cachedeco.loading.effects import Ok, Pause, Wait
from cachedeco.loading.load import FlightResult
from tests.loading.leases.elsewhere import take_apart
from tests.loading.single_flight.callers import Boarding, ByHand, Clock, heard
from tests.support.sides import SYNC, Side, both
from tests.support.sources import EVERY_WAY, Reader, Source
from tests.support.stored import stored
from tests.support.threads import Gate, started
from tests.tracking.floors import Floors, around


@EVERY_WAY
def test_newcomer_does_not_join_a_flight_that_was_invalidated(
    source: Source, read: Reader, invalidate: Callable[[Reader], None], boarding: Boarding
) -> None:
    """While the old flight goes on, with its followers, those who come find a new one."""
    source.gate.shut()

    with ExitStack() as threads:
        old = [threads.enter_context(started(lambda: read(1)))]
        source.gate.wait_reached()
        old.append(threads.enter_context(started(lambda: read(1))))
        boarding.wait_for_followers(1)
        source.value = "new"
        invalidate(read)
        assert "new" == read(1)
        source.gate.open()

    assert (["old", "old"], 2) == ([each.result() for each in old], boarding.leaders)
    assert "new" == read(1)


@both
@pytest.mark.parametrize("where", ["before the flight", "inside the flight"])
def test_follower_who_came_after_an_inner_invalidation_computes(side: Side, where: str, boarding: Boarding) -> None:
    """The flight's name does not tell what calls inside depend on: what has landed is compared with what stands."""
    gate, floors = Gate(), Floors(side)

    @side.cached(ignore=("gate",))
    def slow() -> str:
        gate.wait_to_pass()
        return "slow"

    outer = around(side, "outer", floors.middle, slow)
    if where == "before the flight":
        floors.call("middle")
    gate.shut()
    with started(lambda: side.call(outer)) as leader:
        gate.wait_reached()
        floors.change()
        side.call(floors.bottom.invalidate)
        with started(lambda: side.call(outer)) as follower:
            boarding.wait_for_followers(1)
            gate.open()

    assert ("middle old slow", "middle new slow") == (leader.result(), follower.result())
    assert "middle new slow" == side.call(outer.peek)


@pytest.mark.django_db
def test_caller_that_has_invalidated_an_inner_call_for_itself_does_not_follow(clock: Clock) -> None:
    """Until its block ends, what has landed is what stands for all others, and their values are old for this thread."""
    gate, floors = Gate(), Floors(SYNC)

    @cached_query(ignore=("gate",))
    def slow() -> str:
        gate.wait_to_pass()
        return "slow"

    outer = around(SYNC, "outer", floors.middle, slow)
    gate.shut()
    with started(outer) as leader:
        gate.wait_reached()
        with deferred_invalidation():
            floors.change()
            floors.bottom.invalidate()
            explained = outer.explain()
            caller = ByHand(outer, clock)
            caller.until(Wait)
            gate.open()
            if caller.step is not None:
                leader.result()
                caller.complete()

    assert ("middle old slow", Ok("middle new slow"), "") == (leader.result(), caller.outcome, explained.waits_for)
    assert "middle new slow" == outer()


class Elsewhere:
    """Another process, that holds the lease and computes when it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Hold each lease that a caller asks for."""
        self._take = leases.Lease.take
        self.key = ""
        take_apart(patch, lambda lease: self._refused(lease))  # noqa: PLW0108 -- as a method

    def _refused(self, lease: leases.Lease) -> bool:
        if not self.key:
            self.key = lease.key
            stored().set(lease.key, b"another one", 60)
        return self._take(lease)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Have another process hold the first lease."""
    return Elsewhere(monkeypatch)


@pytest.mark.usefixtures("elsewhere")
def test_leader_that_waits_for_another_process_sees_the_invalidation(clock: Clock) -> None:
    """What the other process computes is dead at birth: the leader, and who joins it, compute anew."""
    floors = Floors(SYNC)
    leader = ByHand(floors.bottom, clock)
    leader.until(Pause)
    follower = ByHand(floors.bottom, clock)
    follower.until(Wait)
    floors.change()
    floors.bottom.invalidate()

    newcomer = ByHand(floors.bottom, clock)
    newcomer.until(None)
    leader.until(None)
    follower.complete()

    assert [Ok("new")] * 3 == [each.outcome for each in (newcomer, leader, follower)]
    assert [] == newcomer.waited
    assert 1 == floors.computed.count("bottom")


@pytest.mark.usefixtures("elsewhere")
def test_value_of_another_process_is_compared_too(clock: Clock) -> None:
    """The leader finds an entry, an inner call is invalidated, a follower comes, the leader lands: that one is new."""
    floors = Floors(SYNC)
    leader = ByHand(floors.middle, clock)
    leader.until(Pause)
    floors.middle.refresh()
    leader.go_on()
    found = leader.done()
    floors.change()
    floors.bottom.invalidate()
    follower = ByHand(floors.middle, clock)
    follower.until(Wait)

    leader.answer(found)
    leader.until(None)
    follower.complete()

    assert (Ok("middle old"), Ok("middle new")) == (leader.outcome, follower.outcome)
    assert "middle new" == floors.middle.peek()


@pytest.mark.usefixtures("elsewhere")
def test_value_of_another_process_is_shared_by_followers(clock: Clock) -> None:
    """What the leader gets from another process it gives to those who wait for it, with what that depends on."""
    floors = Floors(SYNC)
    leader = ByHand(floors.middle, clock)
    leader.until(Pause)
    follower = ByHand(floors.middle, clock)
    follower.until(Wait)
    floors.middle.refresh()
    floors.computed.clear()

    with heard() as told:
        leader.until(None)
        follower.complete()

    assert [Ok("middle old")] * 2 == [leader.outcome, follower.outcome]
    assert ([], ["shared", "shared"]) == (floors.computed, [event.kind for event in told])


@both
def test_invalidations_quicker_than_the_computation_starve_no_caller(side: Side) -> None:
    """Who computes has the value, though it is dead at birth; the next one computes again."""
    count: list[int] = []

    @side.cached(ignore=("count",), namespace="quick")
    def value() -> int:
        count.append(1)
        Namespace("quick").invalidate()
        return len(count)

    assert [1, 2, 3] == [side.call(value) for _ in range(3)]


def test_follower_of_flights_that_are_always_too_old_computes(source: Source, clock: Clock) -> None:
    """Each landing was invalidated by then: in the end the follower computes itself, and within its time."""

    @cached_query(ignore=("source",), wait=3)
    def value() -> str:
        return source.read()

    too_old = FlightResult(pickle.dumps("too old"), {"inner token": b"was invalidated"})
    source.gate.shut()
    with started(value):
        source.gate.wait_reached()
        follower = ByHand(value, clock)
        for _ in range(3):
            follower.until(Wait)
            clock.now += 1
            follower.answer(too_old)
        follower.until(None)
        source.gate.open()

    assert ([], Ok("old")) == (follower.waited, follower.outcome)
