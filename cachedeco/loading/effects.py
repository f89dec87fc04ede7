"""
Sans-I/O effects: the algorithm is a generator that yields effects; `run()` and `arun()` execute them.

Each algorithm is written once, as a *flow*, for sync and async callers. A flow yields an effect at a time: a callable
that talks to the cache or to the database connection, a call of the user's function, a wait, a pause, a flow to spawn
in the background. `run()` performs effects in this thread; `arun()` awaits what can be awaited, and runs the rest, the
flow too, in the thread where Django keeps its connections. The flow returns an outcome, which the driver returns or
raises.

A change of threads costs more than what most flows do after the user's function: so `arun()` goes on in its task, on
the event loop, where the flow says that it needs nothing of the thread, up to an effect that does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from time import sleep
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from asgiref.sync import AsyncToSync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.loading.promise import Promise
from cachedeco.runtime import background
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged

T = TypeVar("T")
V = TypeVar("V")


def _always() -> bool:
    return True


def _nothing() -> None:
    """Do nothing."""


class CallUser(NamedTuple):
    """Effect: call the user's function, which the driver has, with these arguments. The answer is an outcome."""

    arguments: tuple[Any, ...] = ()
    #: Asked on an event loop when the function has returned: whether it goes on in the thread of Django's connections.
    needs_thread: Callable[[], bool] = _always
    #: Called in that thread before an event loop calls the function: what `needs_thread` can't ask on the loop.
    prepare: Callable[[], object] = _nothing


class Wait(NamedTuple):
    """Effect: wait for a leader of this process. The answer is its result, or None after the seconds."""

    promise: Promise[Any]
    seconds: float
    needs_thread: Callable[[], bool] = _always  #: as of a call


class Pause(NamedTuple):
    """Effect: sleep for a number of seconds."""

    seconds: float


class Anywhere(partial[Any]):
    """
    Effect: work that an event loop may do, too, given as to `partial()`.

    There it is called with one argument more, *reraised*: `SynchronousOnlyOperation`, as Django raises it for a query.
    It raises this, before it has changed anything, if the thread of Django's connections has to do the work.
    """


class Send(NamedTuple):
    """Effect: store items, by `Store.set_each()` or its twin for event loops. The answer is what was acknowledged."""

    store: Store
    items: Sequence[Item]

    def __call__(self) -> Acknowledged:
        """Send them from this thread."""
        return self.store.set_each(self.items)


class Executor(Protocol):
    """Runs work in the background, such as `runtime.background`. Its methods return False if it is full."""

    def submit(self, work: background.Job, /) -> bool:
        """Run work of sync code, in another thread."""
        ...

    def start(self, work: background.AsyncJob, /) -> bool:
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
Step = Callable[[], Any] | Send  # what a driver performs without leaving its thread
Effect = Step | CallUser | Wait | Pause | Spawn
# A generator of effects that returns a V. A driver runs a flow: one that returns an outcome.
EffectFlow = Generator[Effect, Any, V]
Flow = EffectFlow[Outcome[V]]


def run(flow: Flow[V], compute: Callable[..., Any]) -> V:
    """Run a flow in this thread."""
    # Raised here and not in _drive(): a StopIteration must not become the context of the user's exception.
    return unwrap(_drive(flow, compute))


def _drive(flow: Flow[V], compute: Callable[..., Any]) -> Outcome[V]:
    """Perform the effects of a flow until it returns its outcome."""
    answer: object = None
    try:
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as end:
                answer = None  # or an exception in it and this frame would be a reference cycle
                return end.value  # type: ignore[no-any-return] # the generator's own V
            if callable(effect):  # nearly always
                answer = effect()
            elif isinstance(effect, CallUser):  # in this frame: a cached function that calls itself gets deeper
                try:
                    answer = Ok(compute(*effect.arguments))
                except BaseException as error:  # noqa: BLE001 -- raised again, after the flow has cleaned up
                    answer = Err(error)
            else:
                answer = _perform(effect, compute)
    finally:
        flow.close()


def _perform(effect: Wait | Pause | Spawn, compute: Callable[..., Any]) -> object:
    match effect:
        case Wait(promise, seconds, _):
            return promise.result(seconds)
        case Pause(seconds):
            sleep(seconds)
            return None
    return effect.executor.submit(lambda: run(effect.flow, compute))


async def arun(flow: Flow[V], compute: Callable[..., Awaitable[Any]]) -> V:
    """
    Run a flow in this task, and all of it that is not awaited in the thread of Django's connections.

    What a flow asks, in its effects and between them, is asked where the transactions of the caller are open, and hooks
    of users may use the database. One change of threads brings a flow to the next effect that this task awaits: a call
    of the user's function, a wait, a pause. Behind one that needs no thread, this task goes on by itself.
    """
    return unwrap(await _adrive(flow, compute))


class _End(NamedTuple, Generic[V]):
    """The end of a flow."""

    outcome: Outcome[V]


async def _adrive(flow: Flow[V], compute: Callable[..., Awaitable[Any]]) -> Outcome[V]:
    """Perform the effects of a flow; after a cancellation only those of its clean-up, which wait for nothing."""
    answer: object = None
    step: Any = _nothing  # the effect before the first one
    cancelled: Err | None = None
    left: list[None] = []
    try:
        while True:
            if callable(step):
                step, cancelled = await _in_thread(partial(_advance, flow, step, left), cancelled)
            if isinstance(step, _End):
                return cancelled or step.outcome
            if cancelled and isinstance(step, Wait | Pause):
                return cancelled
            answer = cancelled if cancelled and isinstance(step, CallUser) else await _aperform(step, compute)
            if isinstance(step, CallUser | Wait) and not isinstance(answer, Err) and not step.needs_thread():
                step, cancelled = await _advance_on_loop(flow, answer)
            else:
                step = partial(_same, answer)
    finally:
        answer = step = cancelled = None  # as above
        left.append(None)  # first: a flow that a thread runs now can't be closed here, and that thread will see this
        with suppress(ValueError):
            flow.close()


def _same(answer: T) -> T:
    """Be an effect that was performed."""
    return answer


def _advance(flow: Flow[V], effect: Step, left: list[None]) -> CallUser | Wait | Pause | Spawn | _End[V] | None:
    """Perform an effect and those that need no loop; return the first other one, or the end; None if it was left."""
    try:
        while True:
            step = flow.send(effect())
            if left:  # by its task, while it ran
                flow.close()
                return None
            if not callable(step):
                if isinstance(step, CallUser):
                    step.prepare()
                return step
            effect = step
    except StopIteration as end:
        return _End(end.value)
    except BaseException as error:  # noqa: BLE001 -- raised in the task, where no future holds it
        return _End(Err(error))


async def _advance_on_loop(flow: Flow[V], answer: object) -> tuple[Effect | _End[V], Err | None]:
    """Perform the effects of a flow that need no thread; return the first other one, or the end, and a cancellation."""
    cancelled: Err | None = None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration as end:
            return _End(end.value), cancelled
        except BaseException as error:  # noqa: BLE001 -- as of a thread
            return _End(Err(error)), cancelled
        if isinstance(effect, Anywhere):
            try:
                answer = effect(SynchronousOnlyOperation)
            except SynchronousOnlyOperation:
                return effect, cancelled
            except BaseException as error:  # noqa: BLE001 -- as above
                return _End(Err(error)), cancelled
        elif isinstance(effect, Send):
            answer, cancelled = await _to_its_end(effect.store.set_each_on_loop(effect.items), cancelled)
        else:
            return effect, cancelled


async def _in_thread(work: Callable[[], T], cancelled: Err | None) -> tuple[T, Err | None]:
    """Do some work in the thread of Django's connections to its end, and return as `_to_its_end()`."""
    return await _to_its_end(sync_to_async(work)(), cancelled)


async def _to_its_end(coroutine: Coroutine[Any, Any, T], cancelled: Err | None) -> tuple[T, Err | None]:
    """
    Run a coroutine to its end, even if this task is cancelled: it may take a lease, or be in the middle of a write.

    Returns:
        The answer, and the cancellation to raise after the flow has cleaned up.
    """
    context = copy_context()  # of a task of its own: that can be awaited again after a cancellation
    working = asyncio.Task(coroutine, context=context)
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
            thread = getattr(AsyncToSync.executors, "current", None)
            try:
                return Ok(await compute(*arguments))
            except GeneratorExit:  # the coroutine is being closed, and can await nothing more
                raise
            except BaseException as error:  # noqa: BLE001 -- a cancellation too is raised again, after the flow has cleaned up
                # A cancelled sync_to_async() leaves that of an async_to_sync() inside it, which takes no more work.
                AsyncToSync.executors.current = thread
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


def unwrap(outcome: Outcome[V]) -> V:
    """Return the value of an outcome, or raise its exception."""
    if isinstance(outcome, Ok):
        return outcome.value  # type: ignore[no-any-return] # as above
    try:
        raise outcome.error
    finally:
        del outcome  # or the exception in it and this frame would be a reference cycle
