"""
What a call wants done, one step at a time, and the two drivers that do it: one for sync code and one for async.

The steps are written once, as generators that yield what they want done: a callable that talks to the cache or to
the database connection; to call the user's function; to wait, to pause, or to go on in the background. `run()` does it
here and now; `arun()` awaits what can be awaited, and does the rest in the thread where Django keeps its
connections. The generator gives an outcome, which the driver returns or raises.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from time import sleep
from typing import Any, Final, Generic, NamedTuple, TypeVar

from asgiref.sync import sync_to_async

from cachedeco import background

V = TypeVar("V")


class Compute(NamedTuple):
    """Call the user's function: what the driver was given, with these arguments. The answer is an outcome."""

    arguments: tuple[Any, ...] = ()


class Wait(NamedTuple):
    """Wait for what another caller of this process computes. The answer is its result, None after so many seconds."""

    future: "Future[Any]"
    seconds: float


class Pause(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Handover(NamedTuple):
    """Take these steps in the background. The answer tells whether they were taken on."""

    steps: "Steps[Any]"


class Value(NamedTuple, Generic[V]):
    """What the function returned, or what stands for it."""

    value: V


class Raised(NamedTuple):
    """What the function raised."""

    error: BaseException


COMPUTE: Final = Compute()
Outcome = Value[V] | Raised
Step = Callable[[], Any] | Compute | Wait | Pause | Handover
# What gives a T in the end. What a driver takes gives an outcome.
Stepping = Generator[Step, Any, V]
Steps = Stepping[Outcome[V]]


def run(steps: Steps[V], compute: Callable[..., Any]) -> V:
    """Take the steps here and now."""
    answer: object = None
    outcome: Any = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                outcome = end.value
                break
            answer = _done(step, compute)
    # Here and not above: no error of the user's is to have our StopIteration behind it.
    return _given(outcome)  # type: ignore[no-any-return] # the generator's own V


def _done(step: Step, compute: Callable[..., Any]) -> object:
    match step:
        case Compute(arguments):
            try:
                return Value(compute(*arguments))
            except BaseException as error:  # noqa: BLE001 -- raised again, once the steps have tidied up
                return Raised(error)
        case Wait(future, seconds):
            wait((future,), seconds)
            return future.result() if future.done() else None
        case Pause(seconds):
            sleep(seconds)
            return None
        case Handover(steps):
            return background.submit(lambda: run(steps, compute))
        case _:
            return step()


async def arun(steps: Steps[V], compute: Callable[..., Awaitable[Any]]) -> V:
    """Take the steps, those that talk to the cache or the database in the thread where Django keeps its connections."""
    answer: object = None
    outcome: Any = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                outcome = end.value
                break
            answer = await _adone(step, compute)
    return _given(outcome)  # type: ignore[no-any-return] # as above


async def _adone(step: Step, compute: Callable[..., Awaitable[Any]]) -> object:
    match step:
        case Compute(arguments):
            try:
                return Value(await compute(*arguments))
            except GeneratorExit:  # nobody awaits us any more, and nothing can be awaited any more
                raise
            except BaseException as error:  # noqa: BLE001 -- a cancellation too is raised again, after tidying up
                return Raised(error)
        case Wait(future, seconds):
            await _until_done(future, seconds)
            return future.result() if future.done() else None
        case Pause(seconds):
            await asyncio.sleep(seconds)
            return None
        case Handover(steps):
            return background.start(arun(steps, compute))
        case _:
            return await sync_to_async(step)()


async def _until_done(future: "Future[Any]", seconds: float) -> None:
    """Wait for a future of whatever thread or loop. It is nobody's task: who is cancelled here takes nobody along."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # our loop is closed: nobody waits here any more
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(tell)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()


def _given(outcome: Any) -> Any:  # noqa: ANN401 -- the generator's own V
    if isinstance(outcome, Value):
        return outcome.value
    try:
        raise outcome.error
    finally:
        del outcome  # or error and frame would keep each other alive
