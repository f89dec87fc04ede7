"""A computation that others wait for does not end: its caller is cancelled, interrupted, or gone."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from cachedeco import cached_query
from cachedeco.loading import single_flight, writing
from tests.loading.leases.elsewhere import take_apart
from tests.loading.single_flight.callers import Boarding, heard
from tests.support.sides import Side, both
from tests.support.threads import PATIENCE_SECONDS, Gate, started


@both
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_a_caller_does_not_reach_others(side: Side, error: type[BaseException], boarding: Boarding) -> None:
    """An interrupt is for the caller alone: one of those who waited computes, and the rest share that."""
    gate, first = Gate(), iter([True])
    gate.shut()

    @side.cached(ignore=("gate", "first", "error"))
    def value() -> str:
        if next(first, False):
            gate.wait_to_pass()
            raise error
        return "value"

    with ExitStack() as threads:
        leader = threads.enter_context(started(lambda: caught(lambda: side.call(value), error)))
        gate.wait_reached()
        others = [threads.enter_context(started(lambda: side.call(value))) for _ in range(3)]
        boarding.wait_for_followers(3)
        gate.open()

    assert (error, ["value"] * 3) == (leader.result(), [each.result() for each in others])


def caught(call: Callable[[], object], error: type[BaseException]) -> type[BaseException] | None:
    """Return the class of the error if a call raises it, in a thread that must not end by it."""
    with suppress(error):
        call()
        return None
    return error


def test_exception_of_a_signal_does_not_reach_others(boarding: Boarding) -> None:
    """It belongs to the leader, whose thread was interrupted: it is no error of the function, and is not remembered."""
    gate, first = Gate(), iter([True])
    gate.shut()

    class Expired(Exception):  # noqa: N818 -- as a deadline of the user's is called
        """Raised by the handler."""

    def expire(_number: int, _frame: object) -> None:
        raise Expired

    @cached_query(ignore=("gate", "first", "expire"), cache_exceptions={Exception: 60}, stale_if_error=60)
    def value() -> str:
        if next(first, False):
            gate.wait_to_pass()
            expire(signal.SIGALRM, None)
        return "value"

    before = signal.signal(signal.SIGALRM, expire)
    try:
        with ExitStack() as threads:
            leader = threads.enter_context(started(lambda: caught(value, Expired)))
            gate.wait_reached()
            others = [threads.enter_context(started(value)) for _ in range(3)]
            boarding.wait_for_followers(3)
            gate.open()
    finally:
        signal.signal(signal.SIGALRM, before)

    assert (Expired, ["value"] * 3) == (leader.result(), [each.result() for each in others])


class Scene:
    """An async function whose first caller is somewhere in the middle, and two others who wait for it."""

    def __init__(self, boarding: Boarding) -> None:
        """Begin before the first call."""
        self.boarding = boarding
        self.count = 0
        self.in_computation = asyncio.Event()
        self.go_on = asyncio.Event()

        @cached_query(ignore=("self",))
        async def value() -> str:
            self.count += 1
            self.in_computation.set()
            if self.count == 1:
                await self.go_on.wait()
            return "value"

        self.value = value

    async def begin(self) -> tuple[asyncio.Task[str], list[asyncio.Task[str]]]:
        """Return the leader, in the middle of the computation, and the others."""
        leader = asyncio.create_task(self.value())
        await self.in_computation.wait()
        others = [asyncio.create_task(self.value()) for _ in range(2)]
        await self.boarding.followers_are(2)
        return leader, others


@pytest.mark.parametrize("times", [1, 2])
def test_cancelled_leader_takes_no_follower_along(boarding: Boarding, times: int) -> None:
    """Cancelled in the middle of the computation, once or twice: of the others one computes, and both get the value."""

    async def scene() -> None:
        run_as_leader = Scene(boarding)
        leader, others = await run_as_leader.begin()

        for _ in range(times):
            leader.cancel()
            await asyncio.sleep(0)

        assert ["value"] * 2 == await asyncio.wait_for(asyncio.gather(*others), PATIENCE_SECONDS)
        assert leader.cancelled() or await asyncio.gather(leader, return_exceptions=True)
        assert (True, 2) == (leader.cancelled(), run_as_leader.count)

    asyncio.run(scene())


def test_cancelled_follower_takes_no_other_along(boarding: Boarding) -> None:
    """Who is cancelled while waiting ends, the computation and the others go on."""

    async def scene() -> None:
        run_as_leader = Scene(boarding)
        leader, (first, second) = await run_as_leader.begin()

        first.cancel()
        await asyncio.wait([first])
        run_as_leader.go_on.set()

        assert ["value"] * 2 == await asyncio.gather(leader, second)
        assert (True, 1) == (first.cancelled(), run_as_leader.count)

    asyncio.run(scene())


def test_function_may_catch_its_cancellation(boarding: Boarding) -> None:
    """A function that ends with a value though it is cancelled has that value stored and shared, as without a cache."""

    async def scene() -> None:
        entered = asyncio.Event()

        @cached_query(ignore=("entered",))
        async def stubborn() -> str:
            entered.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return "value"

        leader = asyncio.create_task(stubborn())
        await entered.wait()
        other = asyncio.create_task(stubborn())
        await boarding.followers_are(1)
        leader.cancel()

        assert ["value"] * 2 == await asyncio.gather(leader, other)

    asyncio.run(scene())


@pytest.mark.parametrize("step", ["claim_stamps", "store_entries"])
def test_leader_cancelled_in_the_middle_of_a_step_takes_no_follower_along(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Cancelled while a thread takes or ends the lease for it: the others get the value, and none waits in vain."""
    gate = Gate()
    gate.shut()
    module: Any = {"claim_stamps": single_flight, "store_entries": writing}[step]
    done = getattr(module, step)

    def slow(*args: Any) -> Any:
        answer = done(*args)
        gate.wait_to_pass()
        return answer

    monkeypatch.setattr(module, step, slow)

    async def scene() -> None:
        @cached_query(cache_if=bool)  # which the thread asks
        async def value() -> str:
            return "value"

        leader = asyncio.create_task(value())
        await asyncio.to_thread(gate.wait_reached)
        others = [asyncio.create_task(value()) for _ in range(2)]
        leader.cancel()
        await asyncio.sleep(0)
        gate.open()

        assert ["value"] * 2 == await asyncio.gather(*others)
        await asyncio.wait([leader])
        assert leader.cancelled()

    with heard() as told:
        asyncio.run(scene())

    assert 1 == [event.kind for event in told].count("computed")


def test_leader_whose_coroutine_is_closed_takes_no_follower_along(
    boarding: Boarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coroutine that is not awaited any more lands its flight: followers look again."""
    # Its lease can't be given back any more: that it ends by itself is another matter.
    take_apart(monkeypatch, lambda _lease: True)

    async def scene() -> None:
        run_as_leader = Scene(boarding)
        coroutine: Any = run_as_leader.value()
        leader = asyncio.create_task(coroutine)
        await run_as_leader.in_computation.wait()
        other = asyncio.create_task(run_as_leader.value())
        await boarding.followers_are(1)
        leader.cancel()
        coroutine.close()

        assert "value" == await other

    asyncio.run(scene())
