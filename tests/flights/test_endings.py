"""How a computation ends that others wait for: it raises, or its caller is cancelled, interrupted, or gone."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, Self

import pytest

from cachedeco import cached_query, leases
from tests.flights.callers import Boarding, heard
from tests.sides import Side, both
from tests.threads import Gate, started


class Boom(Exception):  # noqa: N818 -- only a test's
    """What the user's function raises."""


class Reworded(Exception):  # noqa: N818 -- as above
    """Takes something else than it hands on: made anew by its arguments, it would say something else."""

    def __init__(self, code: int, *, where: str = "here") -> None:
        """Make the text."""
        super().__init__(f"code {code} {where}")
        self.code = code


class Keyworded(Exception):  # noqa: N818 -- as above
    """Can't be made anew by its arguments."""

    def __init__(self, *, code: int) -> None:
        """Keep the code."""
        super().__init__(f"code {code}")
        self.code = code


class Alone(Exception):  # noqa: N818 -- as above
    """Can't be made anew at all."""

    def __new__(cls, *, secret: str, **_: Any) -> Self:  # noqa: ANN401
        """Refuse to be made without it."""
        return super().__new__(cls, secret)

    def __init__(self, **_: Any) -> None:  # noqa: ANN401
        """Take it."""


def raised(call: Callable[[], object]) -> BaseException:
    """Return what a call raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 -- whatever it is
        return error
    pytest.fail("nothing was raised")


def ends(side: Side, boarding: Boarding, error: BaseException, followers: int = 2) -> list[BaseException]:
    """Return what leader and followers get of a computation that raises."""
    gate = Gate()
    gate.shut()

    @side.cached(ignore=("gate", "error"))
    def value() -> None:
        gate.wait_to_pass()
        raise error

    with ExitStack() as threads:
        leader = threads.enter_context(started(lambda: raised(lambda: side.call(value))))
        gate.wait_reached()
        others = [threads.enter_context(started(lambda: raised(lambda: side.call(value)))) for _ in range(followers)]
        boarding.wait_for_followers(followers)
        gate.open()
    return [each.result() for each in (leader, *others)]


# --- it raises ---


@both
def test_error_reaches_those_who_waited(side: Side, boarding: Boarding) -> None:
    """The leader gets the error itself, each of the others a copy with a traceback that ends where it was raised."""
    error = Boom("text", 7)

    leader, *others = ends(side, boarding, error)

    assert error is leader
    assert [("text", 7)] * 2 == [each.args for each in others]
    assert 3 == len({id(each) for each in (leader, *others)})
    assert 1 == boarding.leaders
    for each in (leader, *others):
        names = []
        trace = each.__traceback__
        while trace:
            names.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert "value" == names[-1]


@both
@pytest.mark.parametrize(
    "error",
    [Reworded(7, where="there"), Keyworded(code=7), OSError(2, "no such thing", "file"), KeyError("key"), Boom()],
    ids=lambda error: type(error).__name__,
)
def test_copy_of_an_error_says_the_same(side: Side, error: Exception, boarding: Boarding) -> None:
    """Whatever its class makes of its arguments, a copy has its text and its attributes, and is none of the others."""
    _, first, second = ends(side, boarding, error)

    assert [(type(error), str(error), vars(error))] * 2 == [
        (type(each), str(each), vars(each)) for each in (first, second)
    ]
    assert 3 == len({id(error), id(first), id(second)})


def test_copy_of_an_error_has_its_cause_and_notes(boarding: Boarding) -> None:
    """What an error was raised from is told to everybody, and a note that one caller adds only to that one."""
    error, cause = Boom(), ValueError("cause")
    error.__cause__ = cause
    error.add_note("note")

    _, first, second = ends(Side(is_async=False), boarding, error)
    first.add_note("of the first")

    assert [cause] * 2 == [first.__cause__, second.__cause__]
    assert (True, ["note"]) == (second.__suppress_context__, second.__notes__)


def test_error_that_has_no_copy_is_shared(boarding: Boarding) -> None:
    """An error that can't be made anew is better than none."""
    error = Alone(secret="s")  # noqa: S106 -- no password

    assert [error] * 3 == ends(Side(is_async=False), boarding, error)


@both
def test_error_is_not_cached(side: Side) -> None:
    """The next call computes."""
    outcomes: list[Any] = [Boom(), "value"]

    @side.cached(ignore=("outcomes",))
    def value() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    with pytest.raises(Boom):
        side.call(value)

    assert "value" == side.call(value)


@both
def test_error_and_frames_do_not_keep_each_other_alive(side: Side) -> None:
    """What the function has raised goes when its caller lets it go, and with it what its frames hold."""

    @side.cached()
    def value() -> None:
        raise Boom

    def forgotten() -> weakref.ref[BaseException]:
        return weakref.ref(raised(value))

    async def aforgotten() -> weakref.ref[BaseException]:
        # Caught in here: asyncio makes such circles itself.
        try:
            await value()
        except Boom as error:
            return weakref.ref(error)
        pytest.fail("nothing was raised")

    gc.disable()
    try:
        assert (asyncio.run(aforgotten()) if side.is_async else forgotten())() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [TimeoutError, StopIteration, asyncio.QueueEmpty])
def test_sync_function_may_raise_what_drivers_use(error: type[Exception], boarding: Boarding) -> None:
    """What generators and waiting raise themselves is an error like any other if the user's function raises it."""
    got = ends(Side(is_async=False), boarding, error("mine"))

    assert [(error, ("mine",))] * 3 == [(type(each), each.args) for each in got]
    assert [None] * 3 == [each.__context__ for each in got]


@pytest.mark.parametrize("error", [TimeoutError, StopAsyncIteration])
def test_async_function_may_raise_what_drivers_use(error: type[Exception], boarding: Boarding) -> None:
    """As in sync code."""
    got = ends(Side(is_async=True), boarding, error("mine"))

    assert [(error, ("mine",))] * 3 == [(type(each), each.args) for each in got]


# --- it does not end ---


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
def test_cancelled_leader_takes_nobody_along(boarding: Boarding, times: int) -> None:
    """Cancelled in the middle of the computation, once or twice: of the others one computes, and both get the value."""

    async def scene() -> None:
        flown = Scene(boarding)
        leader, others = await flown.begin()

        for _ in range(times):
            leader.cancel()
            await asyncio.sleep(0)

        assert ["value"] * 2 == await asyncio.wait_for(asyncio.gather(*others), 2)
        assert leader.cancelled() or await asyncio.gather(leader, return_exceptions=True)
        assert (True, 2) == (leader.cancelled(), flown.count)

    asyncio.run(scene())


def test_cancelled_follower_takes_nobody_along(boarding: Boarding) -> None:
    """Who is cancelled while waiting ends, the computation and the others go on."""

    async def scene() -> None:
        flown = Scene(boarding)
        leader, (first, second) = await flown.begin()

        first.cancel()
        await asyncio.wait([first])
        flown.go_on.set()

        assert ["value"] * 2 == await asyncio.gather(leader, second)
        assert (True, 1) == (first.cancelled(), flown.count)

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


@pytest.mark.parametrize("step", ["take", "end"])
def test_leader_cancelled_in_the_middle_of_a_step_takes_nobody_along(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Cancelled while a thread takes or ends the lease for it: the others get the value, and nobody waits in vain."""
    gate = Gate()
    gate.shut()
    done = getattr(leases.Lease, step)

    def slow(lease: leases.Lease, *args: Any) -> Any:  # noqa: ANN401
        answer = done(lease, *args)
        gate.wait_to_pass()
        return answer

    monkeypatch.setattr(leases.Lease, step, slow)

    async def scene() -> None:
        @cached_query
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


def test_leader_whose_coroutine_is_closed_takes_nobody_along(
    boarding: Boarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coroutine that nobody awaits any more lands its flight: who waited sees for itself."""
    # Its lease nobody can give back any more: that it ends by itself is another matter.
    monkeypatch.setattr(leases.Lease, "take", lambda _lease: True)

    async def scene() -> None:
        flown = Scene(boarding)
        coroutine: Any = flown.value()
        leader = asyncio.create_task(coroutine)
        await flown.in_computation.wait()
        other = asyncio.create_task(flown.value())
        await boarding.followers_are(1)
        leader.cancel()
        coroutine.close()

        assert "value" == await other

    asyncio.run(scene())
