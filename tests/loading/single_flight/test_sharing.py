"""In one process, callers of one key and stamp share one computation: threads, tasks, and both at once."""

import asyncio
import pickle
from collections.abc import Callable
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from cachedeco import MISSING, cached_query
from tests.loading.single_flight.callers import Boarding, heard, kinds
from tests.support.sides import Side, both
from tests.support.sources import Reader, Source
from tests.support.threads import PATIENCE_SECONDS, Gate, started

FOLLOWERS = 5


# --- one computation ---


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("backend", ["locmem", "memcached", "redis", "file"], indirect=True)
def test_threads_share_one_computation(source: Source, read: Reader, boarding: Boarding) -> None:
    """Who calls in a thread while another one computes gets what that one computes."""
    source.gate.shut()

    with ExitStack() as threads:
        leader = threads.enter_context(started(lambda: read(1)))
        source.gate.wait_reached()
        others = [threads.enter_context(started(lambda: read(1))) for _ in range(FOLLOWERS)]
        boarding.wait_for_followers(FOLLOWERS)
        source.gate.open()

    assert ["old"] * (1 + FOLLOWERS) == [each.result() for each in (leader, *others)]
    assert (1, 1) == (source.read_count, boarding.leaders)


def test_other_keys_are_other_flights(source: Source, read: Reader) -> None:
    """A call with other arguments waits for no other."""
    source.gate.shut()

    with started(lambda: read(1)):
        source.gate.wait_reached()
        value = read(2)
        source.gate.open()

    assert ("old", 2) == (value, source.read_count)


def test_tasks_share_one_computation(boarding: Boarding) -> None:
    """Who calls in a task while another one computes gets what that one computes."""

    async def scene() -> list[str]:
        go_on = asyncio.Event()

        @cached_query(ignore=("go_on",))
        async def value() -> str:
            await go_on.wait()
            return "value"

        tasks = [asyncio.create_task(value()) for _ in range(1 + FOLLOWERS)]
        await boarding.followers_are(FOLLOWERS)
        go_on.set()
        return await asyncio.gather(*tasks)

    assert ["value"] * (1 + FOLLOWERS) == asyncio.run(scene())
    assert 1 == boarding.leaders


def test_tasks_of_several_loops_in_several_threads_share_one_computation(boarding: Boarding) -> None:
    """A future of one loop can't be awaited in another: they share nevertheless."""
    gate = Gate()
    gate.shut()

    @cached_query(ignore=("gate",))
    async def value() -> str:
        await asyncio.to_thread(gate.wait_to_pass)
        return "value"

    async def thrice() -> list[str]:
        return await asyncio.gather(value(), value(), value())

    with ExitStack() as threads:
        loops = [threads.enter_context(started(lambda: asyncio.run(thrice()))) for _ in range(3)]
        boarding.wait_for_followers(3 * 3 - 1)
        gate.open()

    assert [["value"] * 3] * 3 == [each.result() for each in loops]
    assert 1 == boarding.leaders


def test_threads_and_sync_to_async_share_one_computation(source: Source, boarding: Boarding) -> None:
    """A sync function has the same flights from a thread as from async code."""
    source.gate.shut()

    @cached_query(ignore=("source",))
    def value() -> str:
        return source.read()

    async def awaited() -> list[str]:
        return await asyncio.gather(*(sync_to_async(value, thread_sensitive=False)() for _ in range(3)))

    with started(value) as leader:
        source.gate.wait_reached()
        with started(lambda: asyncio.run(awaited())) as others:
            boarding.wait_for_followers(3)
            source.gate.open()

    assert ("old", ["old"] * 3, 1) == (leader.result(), others.result(), source.read_count)


@both
def test_each_caller_gets_a_copy_of_its_own(side: Side, boarding: Boarding) -> None:
    """What one caller does to its value no other one sees, and no later one."""
    gate = Gate()
    gate.shut()

    @side.cached(ignore=("gate",))
    def value() -> list[str]:
        gate.wait_to_pass()
        return ["value"]

    def emptied() -> list[str]:
        got: list[str] = side.call(value)
        was = got.copy()
        got.clear()
        return was

    with ExitStack() as threads:
        callers = [threads.enter_context(started(emptied)) for _ in range(1 + FOLLOWERS)]
        boarding.wait_for_followers(FOLLOWERS)
        gate.open()

    assert [["value"]] * (1 + FOLLOWERS) == [each.result() for each in callers]
    assert ["value"] == emptied()


# --- what is not stored ---


@both
@pytest.mark.parametrize("options", [{"cache_if": bool}, {"timeout": len}], ids=["cache_if", "timeout"])
def test_what_is_not_stored_is_shared(side: Side, options: dict[str, Any], boarding: Boarding) -> None:
    """A caller that has waited gets the value, though no later one does."""
    gate = Gate()
    gate.shut()

    @side.cached(ignore=("gate",), **options)
    def value() -> list[str]:
        gate.wait_to_pass()
        return []

    with heard() as told, ExitStack() as threads:
        callers = [threads.enter_context(started(lambda: side.call(value))) for _ in range(3)]
        boarding.wait_for_followers(2)
        gate.open()

    assert [[]] * 3 == [each.result() for each in callers]
    assert (1, 2) == (kinds(told, value).count("computed"), kinds(told, value).count("shared"))
    assert MISSING is side.call(value.peek)


class Unloadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Name what raises."""
        return pickle.loads, (b"nonsense",)


@both
@pytest.mark.parametrize("made", [lambda: lambda: None, Unloadable], ids=["not picklable", "not unpicklable"])
def test_what_has_no_copies_is_computed_by_all_at_once(
    side: Side, made: Callable[[], object], boarding: Boarding
) -> None:
    """Of a value that can't be shared, those that have waited compute their own, and do not wait in a row."""
    gate, at_once, first = Gate(), Barrier(3, timeout=PATIENCE_SECONDS), iter([True])
    gate.shut()

    @side.cached(ignore=("gate", "at_once", "first", "made"))
    def value() -> object:
        if next(first, False):
            gate.wait_to_pass()
        else:
            at_once.wait()
        return made()

    with heard() as told, ExitStack() as threads:
        callers = [threads.enter_context(started(lambda: side.call(value))) for _ in range(1 + 3)]
        boarding.wait_for_followers(3)
        gate.open()

    assert 4 == len({id(each.result()) for each in callers})
    assert 4 == kinds(told, value).count("computed")
