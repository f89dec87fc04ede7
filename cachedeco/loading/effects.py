"""
Sans-I/O effects: the algorithm is a generator that yields effects; `run()` and `arun()` execute them.

Each algorithm is written once, as a *flow*, for sync and async callers. A flow yields an effect at a time: a callable
that talks to the cache or to the database connection, a call of the user's function, a wait, a pause, a flow to spawn
in the background. `run()` performs effects in this thread; `arun()` awaits what can be awaited, and runs the rest, the
flow too, in the thread where Django keeps its connections. The flow returns an outcome, which the driver returns or
raises.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, suppress
from contextvars import copy_context
from functools import partial
from time import sleep
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from asgiref.sync import sync_to_async

from cachedeco.loading.promise import Promise
from cachedeco.runtime import background

T = TypeVar("T")
V = TypeVar("V")


class CallUser(NamedTuple):
    """Effect: call the user's function, which the driver has, with these arguments. The answer is an outcome."""

    arguments: tuple[Any, ...] = ()


class Wait(NamedTuple):
    """Effect: wait for a leader of this process. The answer is its result, or None after the seconds."""

    promise: Promise[Any]
    seconds: float


class Pause(NamedTuple):
    """Effect: sleep for a number of seconds."""

    seconds: float


class Executor(Protocol):
    """Runs work in the background, such as `runtime.background`. Its methods return False if it is full."""

    def submit(self, work: background.Work, /) -> bool:
        """Run work of sync code, in another thread."""
        ...

    def start(self, work: background.AsyncWork, /) -> bool:
        """Run work of async code, in a task of the running loop."""
        ...


class Spawn(NamedTuple):
    """Effect: run a flow in the background. The answer tells whether the executor has accepted it."""

    flow: "Flow[Any]"
    executor: Executor = background


class Ok(NamedTuple, Generic[V]):
    """A value: what the user's function returned, or a cached one."""

    value: V


class Err(NamedTuple):
    """An exception that the user's function raised."""

    error: BaseException


CALL_USER: Final = CallUser()
Outcome = Ok[V] | Err
Effect = Callable[[], Any] | CallUser | Wait | Pause | Spawn
# A generator of effects that returns a V. A driver runs a flow: one that returns an outcome.
EffectFlow = Generator[Effect, Any, V]
Flow = EffectFlow[Outcome[V]]


def run(flow: Flow[V], compute: Callable[..., Any]) -> V:
    """Run a flow in this thread."""
    # Raised here and not in _drive(): a StopIteration must not become the context of the user's exception.
    return _unwrap(_drive(flow, compute))


def _drive(flow: Flow[V], compute: Callable[..., Any]) -> Outcome[V]:
    """Perform the effects of a flow until it returns its outcome."""
    answer: object = None
    with closing(flow):
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as end:
                answer = None  # or an exception in it and this frame would be a reference cycle
                return end.value  # type: ignore[no-any-return] # the generator's own V
            if isinstance(effect, CallUser):  # in this frame: a cached function that calls itself gets deeper
                try:
                    answer = Ok(compute(*effect.arguments))
                except BaseException as error:  # noqa: BLE001 -- raised again, after the flow has cleaned up
                    answer = Err(error)
            else:
                answer = _perform(effect, compute)


def _perform(effect: Callable[[], Any] | Wait | Pause | Spawn, compute: Callable[..., Any]) -> object:
    match effect:
        case Wait(promise, seconds):
            return promise.result(seconds)
        case Pause(seconds):
            sleep(seconds)
            return None
        case Spawn(flow, executor):
            return executor.submit(lambda: run(flow, compute))
        case _:
            return effect()


async def arun(flow: Flow[V], compute: Callable[..., Awaitable[Any]]) -> V:
    """
    Run a flow in this task, and all of it that is not awaited in the thread of Django's connections.

    What a flow asks, in its effects and between them, is asked where the transactions of the caller are open, and hooks
    of users may use the database. One change of threads brings a flow to the next effect that this task awaits: a call
    of the user's function, a wait, a pause.
    """
    return _unwrap(await _adrive(flow, compute))


class _End(NamedTuple, Generic[V]):
    """The end of a flow."""

    outcome: Outcome[V]


async def _adrive(flow: Flow[V], compute: Callable[..., Awaitable[Any]]) -> Outcome[V]:
    """Perform the effects of a flow; after a cancellation only those of its clean-up, which wait for nothing."""
    answer: object = None
    step: Any = None
    cancelled: Err | None = None
    left: list[None] = []
    try:
        while True:
            step, cancelled = await _in_thread(partial(_advance, flow, answer, left), cancelled)
            if isinstance(step, _End):
                return cancelled or step.outcome
            if cancelled and isinstance(step, Wait | Pause):
                return cancelled
            answer = cancelled if cancelled and isinstance(step, CallUser) else await _aperform(step, compute)
    finally:
        answer = step = cancelled = None  # as above
        left.append(None)  # first: a flow that a thread runs now can't be closed here, and that thread will see this
        with suppress(ValueError):
            flow.close()


def _advance(flow: Flow[V], answer: object, left: list[None]) -> CallUser | Wait | Pause | Spawn | _End[V] | None:
    """Perform the effects of a flow that need no loop; return the first other one, or the end; None if it was left."""
    try:
        while True:
            effect = flow.send(answer)
            if left:  # by its task, while it ran
                flow.close()
                return None
            if not callable(effect):
                return effect
            answer = effect()
    except StopIteration as end:
        return _End(end.value)
    except BaseException as error:  # noqa: BLE001 -- raised in the task, where no future holds it
        return _End(Err(error))


async def _in_thread(work: Callable[[], T], cancelled: Err | None) -> tuple[T, Err | None]:
    """
    Do some work in the thread of Django's connections to its end, even if this task is cancelled: it may take a lease.

    Returns:
        The answer, and the cancellation to raise after the flow has cleaned up.
    """
    context = copy_context()  # of a task of its own: that can be awaited again after a cancellation
    working = asyncio.Task(sync_to_async(work)(), context=context)
    while not working.done():  # a task may be cancelled more than once
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError as error:
            cancelled = Err(error)
    for variable, value in context.items():  # as asgiref does: a flow sets what computation its caller is in
        if variable.get(context) is not value:
            variable.set(value)
    return working.result(), cancelled


async def _aperform(effect: CallUser | Wait | Pause | Spawn, compute: Callable[..., Awaitable[Any]]) -> object:
    match effect:
        case CallUser(arguments):
            try:
                return Ok(await compute(*arguments))
            except GeneratorExit:  # the coroutine is being closed, and can await nothing more
                raise
            except BaseException as error:  # noqa: BLE001 -- a cancellation too is raised again, after the flow has cleaned up
                return Err(error)
        case Wait(promise, seconds):
            await _wait_until_kept(promise, seconds)
            return promise.result(0)
        case Pause(seconds):
            await asyncio.sleep(seconds)
            return None
    return effect.executor.start(lambda: arun(effect.flow, compute))


async def _wait_until_kept(promise: Promise[Any], seconds: float) -> None:
    """Wait for a promise of any thread or loop."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed, and this task with it
            loop.call_soon_threadsafe(done.set)

    promise.call_when_kept(wake)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()


def _unwrap(outcome: Outcome[V]) -> V:
    """Return the value of an outcome, or raise its exception."""
    if isinstance(outcome, Ok):
        return outcome.value  # type: ignore[no-any-return] # as above
    try:
        raise outcome.error
    finally:
        del outcome  # as above
