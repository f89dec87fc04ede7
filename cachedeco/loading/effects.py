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
from threading import TIMEOUT_MAX
from time import sleep
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from asgiref.sync import sync_to_async

from cachedeco.runtime import background

V = TypeVar("V")


class CallUser(NamedTuple):
    """Call the user's function: what the driver was given, with these arguments. The answer is an outcome."""

    arguments: tuple[Any, ...] = ()


class Wait(NamedTuple):
    """Wait for what another caller of this process computes. The answer is its result, None after so many seconds."""

    future: "Future[Any]"
    seconds: float


class Pause(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class Executor(Protocol):
    """A place for work beside the caller: `runtime.background`, say. False is the answer of one that is full."""

    def submit(self, work: background.Work, /) -> bool:
        """Run work of sync code, in another thread."""
        ...

    def start(self, work: background.AsyncWork, /) -> bool:
        """Run work of async code, in a task of the running loop."""
        ...


class Spawn(NamedTuple):
    """Take these steps in the background. The answer tells whether the executor has accepted them."""

    steps: "Flow[Any]"
    executor: Executor = background


class Ok(NamedTuple, Generic[V]):
    """What the function returned, or what stands for it."""

    value: V


class Err(NamedTuple):
    """What the function raised."""

    error: BaseException


CALL_USER: Final = CallUser()
Outcome = Ok[V] | Err
Effect = Callable[[], Any] | CallUser | Wait | Pause | Spawn
# What gives a T in the end. What a driver takes gives an outcome.
EffectFlow = Generator[Effect, Any, V]
Flow = EffectFlow[Outcome[V]]


def run(steps: Flow[V], compute: Callable[..., Any]) -> V:
    """Take the steps here and now."""
    # Raised here and not below: no error of the user's is to have our StopIteration behind it.
    return _unwrap(_drive(steps, compute))


def _drive(steps: Flow[V], compute: Callable[..., Any]) -> Outcome[V]:
    answer: object = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                answer = None  # or an error in it and this frame would keep each other alive
                return end.value  # type: ignore[no-any-return] # the generator's own V
            answer = _perform(step, compute)


def _perform(step: Effect, compute: Callable[..., Any]) -> object:
    match step:
        case CallUser(arguments):
            try:
                return Ok(compute(*arguments))
            except BaseException as error:  # noqa: BLE001 -- raised again, once the steps have tidied up
                return Err(error)
        case Wait(future, seconds):
            wait((future,), min(seconds, TIMEOUT_MAX))
            return future.result() if future.done() else None
        case Pause(seconds):
            sleep(seconds)
            return None
        case Spawn(steps, executor):
            return executor.submit(lambda: run(steps, compute))
        case _:
            return step()


async def arun(steps: Flow[V], compute: Callable[..., Awaitable[Any]]) -> V:
    """Take the steps, those that talk to the cache or the database in the thread where Django keeps its connections."""
    return _unwrap(await _adrive(steps, compute))


async def _adrive(steps: Flow[V], compute: Callable[..., Awaitable[Any]]) -> Outcome[V]:
    answer: object = None
    cancelled: Err | None = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                answer = None  # as above
                return cancelled or end.value
            if cancelled and isinstance(step, Wait | Pause):
                return cancelled
            if callable(step):
                answer, cancelled = await _undisturbed(step, cancelled)
            else:
                answer = cancelled if cancelled and isinstance(step, CallUser) else await _aperform(step, compute)


async def _undisturbed(step: Callable[[], Any], cancelled: Err | None) -> tuple[object, Err | None]:
    """
    Take a step to its end, though we may be cancelled meanwhile: its thread goes on anyway, and may take a lease.

    Returns:
        The answer, and what is to be raised once the steps have tidied up.
    """
    work = asyncio.ensure_future(sync_to_async(step)())
    try:
        return await asyncio.shield(work), cancelled
    except asyncio.CancelledError as error:
        return await work, Err(error)


async def _aperform(step: CallUser | Wait | Pause | Spawn, compute: Callable[..., Awaitable[Any]]) -> object:
    match step:
        case CallUser(arguments):
            try:
                return Ok(await compute(*arguments))
            except GeneratorExit:  # nobody awaits us any more, and nothing can be awaited any more
                raise
            except BaseException as error:  # noqa: BLE001 -- a cancellation too is raised again, after tidying up
                return Err(error)
        case Wait(future, seconds):
            await _until_done(future, seconds)
            return future.result() if future.done() else None
        case Pause(seconds):
            await asyncio.sleep(seconds)
            return None
    return step.executor.start(lambda: arun(step.steps, compute))


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


def _unwrap(outcome: Outcome[V]) -> V:
    if isinstance(outcome, Ok):
        return outcome.value  # type: ignore[no-any-return] # as above
    try:
        raise outcome.error
    finally:
        del outcome  # as above
