"""No caller waits without bound, or where waiting could make a circle."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from cachedeco import cached_query
from cachedeco.loading import leases
from cachedeco.loading.effects import Ok, Pause, Wait
from cachedeco.loading.flights import NO_RESULTS
from tests.loading.leases.elsewhere import take_apart
from tests.loading.single_flight.callers import Boarding, ByHand, Clock
from tests.models import Club
from tests.support.backends import Commands
from tests.support.sides import SYNC, Side, both
from tests.support.sources import Source
from tests.support.stored import stored
from tests.support.threads import Gate, in_thread, started
from tests.tracking.floors import around


@contextmanager
def led_elsewhere(source: Source, cached: Any) -> Iterator[None]:
    """Have another thread be in the middle of the computation."""
    source.gate.shut()
    with started(lambda: SYNC.call(cached)):
        source.gate.wait_reached()
        try:
            yield
        finally:
            source.gate.open()


@pytest.fixture
def held_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have another process hold each lease."""

    def refused(lease: leases.Lease) -> bool:
        stored().set(lease.key, b"another one", 60)
        return False

    take_apart(monkeypatch, refused)


# --- how long ---


def test_follower_waits_as_long_as_it_may_and_computes(source: Source, clock: Clock) -> None:
    """A computation that takes longer than `wait` is not waited for, and keeps no caller from a value."""

    @cached_query(ignore=("source",), wait=3)
    def value() -> str:
        return source.read()

    with led_elsewhere(source, value):
        call = ByHand(value, clock)
        call.until(None)

    assert ([3], Ok("old"), 2) == (call.waited, call.outcome, source.read_count)


def test_follower_waits_so_long_in_all(source: Source, clock: Clock) -> None:
    """Flights that come to nothing, one after the other, do not add up."""

    @cached_query(ignore=("source",), wait=3)
    def value() -> str:
        return source.read()

    with led_elsewhere(source, value):
        call = ByHand(value, clock)
        for _ in range(3):
            call.until(Wait)
            clock.now += 1
            call.answer(NO_RESULTS)
            call.until(Wait)
            call.waited.append(call.step.seconds if isinstance(call.step, Wait) else 0)
        call.until(None)

    assert ([2, 1, 0], Ok("old")) == (call.waited, call.outcome)


@pytest.mark.usefixtures("held_elsewhere")
def test_leader_waits_so_long_in_all_for_another_process(clock: Clock) -> None:
    """A lease that never ends is not waited for longer; followers of this leader wait no longer either."""

    @cached_query(wait=3)
    def value() -> str:
        return "value"

    leader = ByHand(value, clock)
    leader.until(Pause)
    follower = ByHand(value, clock)
    follower.until(Wait)
    leader.until(None)
    follower.complete()

    assert (3, Ok("value")) == (pytest.approx(sum(leader.waited)), leader.outcome)
    assert ([], Ok("value")) == (follower.waited, follower.outcome)


@both
@pytest.mark.parametrize("wait", [timedelta.max, 1e300], ids=["timedelta.max", "1e300"])
def test_wait_may_be_longer_than_a_thread_can_wait(
    side: Side, wait: timedelta | float, source: Source, boarding: Boarding
) -> None:
    """What a lock refuses as too long is as good as for ever."""

    @side.cached(ignore=("source",), wait=wait)
    def value() -> str:
        return source.read()

    source.gate.shut()
    with started(lambda: side.call(value)):
        source.gate.wait_reached()
        with started(lambda: side.call(value)) as follower:
            boarding.wait_for_followers(1)
            source.gate.open()

    assert ("old", 1) == (follower.result(), source.read_count)


@both
def test_caller_that_waits_for_none_shares_nothing(side: Side, boarding: Boarding, commands: Commands) -> None:
    """With `wait=0` there is no flight, and no lease in the cache."""

    @side.cached(wait=0)
    def value() -> str:
        return "value"

    side.call(value)

    assert (0, 0) == (boarding.leaders, boarding.followers)
    assert ["get_many", "add", "add", "set_many"] == commands.names


# --- where ---


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("using", ["default", "other"])
def test_no_caller_waits_inside_a_transaction(source: Source, boarding: Boarding, using: str) -> None:
    """It may hold what the computation needs: on any database."""

    @cached_query(ignore=("source",))
    def value() -> str:
        return source.read()

    with led_elsewhere(source, value), transaction.atomic(using=using):
        assert "old" == value()

    assert (1, 0) == (boarding.leaders, boarding.followers)


@pytest.mark.django_db(transaction=True)
def test_row_that_the_caller_has_locked_is_not_waited_for() -> None:
    """A computation waits for a row of a transaction whose next call would wait for that computation: none does."""
    club = Club.objects.create(name="old")
    in_computation = Gate()

    @cached_query(ignore=("club", "in_computation"))
    def renamed() -> str:
        in_computation.wait_to_pass()
        Club.objects.filter(pk=club.pk).update(name="new")
        return "new"

    in_computation.shut()
    with started(renamed) as leader:
        in_computation.wait_reached()
        with transaction.atomic():
            Club.objects.filter(pk=club.pk).update(name="newer")
            in_computation.open()
            assert "new" == renamed()
        assert "new" == leader.result()


@pytest.mark.django_db
def test_block_of_a_testcase_is_no_transaction(source: Source, boarding: Boarding) -> None:
    """Inside it a call shares as in production."""

    @cached_query(ignore=("source",))
    def value() -> str:
        return source.read()

    value()

    assert 1 == boarding.leaders


@both
def test_no_caller_waits_while_leading(side: Side, source: Source, boarding: Boarding) -> None:
    """A caller for which others may wait waits for none."""

    @side.cached(ignore=("source",))
    def inner() -> str:
        return source.read()

    outer = around(side, "outer", around(side, "between", inner, wait=0))
    source.gate.shut()
    with started(lambda: side.call(inner)):
        source.gate.wait_reached()
        value = in_thread(lambda: side.call(outer))
        source.gate.open()

    assert ("old", 2) == (value, source.read_count)
    assert (2, 0) == (boarding.leaders, boarding.followers)


# --- circles ---


@both
def test_recursion(side: Side) -> None:
    """A function that calls itself, with other arguments, ends; each number is computed once."""
    computed: list[int] = []

    if side.is_async:

        @cached_query(ignore=("computed",))
        async def afib(number: int) -> int:
            computed.append(number)
            return number if number < 2 else await afib(number - 1) + await afib(number - 2)

        assert 55 == side.call(afib, 10)
    else:

        @cached_query(ignore=("computed",))
        def fib(number: int) -> int:
            computed.append(number)
            return number if number < 2 else fib(number - 1) + fib(number - 2)

        assert 55 == fib(10)

    assert [*range(11)] == sorted(computed)


def test_two_that_call_each_other_in_two_threads(boarding: Boarding) -> None:
    """A calls B while B, in another thread, calls A: each computes what the other one is computing."""
    calling = threading.local()
    gates = Gate(), Gate()

    @cached_query(ignore=("gates", "calling", "functions"), cache_if=lambda _: False)
    def a() -> str:
        if hasattr(calling, "b"):
            return "a"
        calling.a = True
        gates[0].wait_to_pass()
        return f"a {functions['b']()}"

    @cached_query(ignore=("gates", "calling", "functions"), cache_if=lambda _: False)
    def b() -> str:
        if hasattr(calling, "a"):
            return "b"
        calling.b = True
        gates[1].wait_to_pass()
        return f"b {functions['a']()}"

    functions = {"a": a, "b": b}
    for gate in gates:
        gate.shut()

    with started(a) as in_a, started(b) as in_b:
        for gate in gates:
            gate.wait_reached()
        for gate in gates:
            gate.open()

    assert ("a b", "b a") == (in_a.result(), in_b.result())
    assert (2, 0) == (boarding.leaders, boarding.followers)
