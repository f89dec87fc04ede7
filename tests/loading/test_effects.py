"""The two drivers: what they do with a step, and that they leave no generator in the middle."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from threading import Event, get_ident
from typing import Any

import pytest
from asgiref.current_thread_executor import CurrentThreadExecutor
from asgiref.sync import AsyncToSync, async_to_sync
from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.loading.effects import CALL_USER, Anywhere, CallUser, Err, Ok, Pause, Send, Spawn, Wait, arun, run
from cachedeco.loading.promise import Promise
from tests.support.hops import hops
from tests.support.sides import Side, both
from tests.support.threads import PATIENCE_SECONDS, Gate


class Boom(Exception):  # noqa: N818 -- only a test's
    """What a step raises."""


class Taken:
    """Steps given in a list, the answers to them, and whether the generator was left."""

    def __init__(self, *steps: Any) -> None:
        """Begin with no answer."""
        self.steps = steps
        self.answers: list[Any] = []
        self.is_left = False

    def generator(self) -> Generator[Any, Any, Any]:
        """Yield the steps, and give the last answer as a value, or what was raised."""
        try:
            for step in self.steps:
                self.answers.append((yield step))
            last = self.answers[-1]
            return last if isinstance(last, Ok | Err) else Ok(last)
        finally:
            self.is_left = True


def driven(side: Side, taken: Taken, compute: Callable[[], object] = lambda: "computed") -> object:
    """Have the driver of a side take the steps."""
    if not side.is_async:
        return run(taken.generator(), compute)
    return async_to_sync(arun)(taken.generator(), side.of(compute))


def boom() -> None:
    """Raise."""
    raise Boom


# --- what is done ---


@both
def test_each_step_is_answered(side: Side) -> None:
    """A callable by what it returns, the computation by its outcome, a wait by the result or None, a pause by None."""
    done: Promise[str] = Promise()
    done.keep("result")
    never: Promise[str] = Promise()
    taken = Taken(lambda: "called", CALL_USER, Wait(done, 1), Wait(never, 0), Pause(0))

    assert driven(side, taken) is None

    assert ["called", Ok("computed"), "result", None, None] == taken.answers
    assert taken.is_left


@both
def test_what_the_computation_raises_is_an_answer_and_is_raised_at_the_end(side: Side) -> None:
    """The steps tidy up first; nothing stands behind the error that is not the user's."""
    taken = Taken(CALL_USER)

    with pytest.raises(Boom) as failure:
        driven(side, taken, boom)

    assert taken.is_left
    assert failure.value.__context__ is None
    assert failure.value.__cause__ is None


@both
def test_steps_are_closed_when_one_raises(side: Side) -> None:
    """What is no outcome leaves the driver at once, and no generator in the middle."""
    taken = Taken(boom, CALL_USER)

    with pytest.raises(Boom):
        driven(side, taken)

    assert ([], True) == (taken.answers, taken.is_left)


@both
def test_steps_that_are_handed_over_are_taken_in_the_background(side: Side) -> None:
    """The caller goes on, and is told that they were taken on."""
    there: Promise[str] = Promise()
    handed = Taken(CALL_USER, lambda: there.keep("there"))
    taken = Taken(Spawn(handed.generator()), Wait(there, PATIENCE_SECONDS))

    assert "there" == driven(side, taken)

    assert [True, "there"] == taken.answers
    assert Ok("computed") == handed.answers[0]


# --- on the event loop ---


class Stored:
    """A store that keeps where it was called."""

    def __init__(self) -> None:
        """Begin with no item."""
        self.items: list[Any] = []

    def set_each(self, items: Any) -> list[bool]:
        """Store in a thread."""
        self.items += [("thread", *each) for each in items]
        return [True]

    async def set_each_on_loop(self, items: Any) -> list[bool]:
        """Store on the loop."""
        await asyncio.sleep(0)
        self.items += [("loop", *each) for each in items]
        return [True]


def call_user(*, stays: bool) -> CallUser:
    """Return a call behind which a flow stays on the loop, or not."""
    return CallUser((), lambda: not stays)


@pytest.mark.parametrize(
    ("side", "stays", "place"), [("sync", True, "thread"), ("async", False, "thread"), ("async", True, "loop")]
)
@pytest.mark.parametrize("before", ["call", "wait"])
def test_flow_stays_on_the_loop_behind_what_needs_no_thread(side: str, *, stays: bool, place: str, before: str) -> None:
    """It does there what can be done anywhere, and sends by the loop; sync code knows no difference."""
    store: Any = Stored()
    done: Promise[str] = Promise()
    done.keep("result")
    first = call_user(stays=stays) if before == "call" else Wait(done, 1, lambda: not stays)
    taken = Taken(first, Anywhere(lambda passes=(): passes), Send(store, [("key", b"", 1)]))

    with hops() as counted:
        driven(Side(is_async=side == "async"), taken)

    passes = SynchronousOnlyOperation if place == "loop" else ()
    assert ([passes, [True]], [(place, "key", b"", 1)]) == (taken.answers[1:], store.items)
    assert {"sync": 0, "async": 1 if stays else 2}[side] == len(counted)


def test_work_that_the_loop_can_not_do_is_done_in_the_thread() -> None:
    """And all that follows, up to the next effect that the task awaits."""
    threads: list[int] = []

    def work(passes: Any = ()) -> str:
        if passes:
            raise passes
        threads.append(get_ident())
        return "worked"

    taken = Taken(
        call_user(stays=True), Anywhere(work), Anywhere(lambda passes=(): (passes, threads.append(get_ident())))
    )

    assert driven(Side(is_async=True), taken) == ((), None)

    assert ["worked", 1] == [taken.answers[1], len(set(threads))]


@pytest.mark.parametrize("raises", ["work", "flow"])
@pytest.mark.parametrize("error", [Boom, SynchronousOnlyOperation])
def test_what_a_flow_raises_on_the_loop_ends_it(raises: str, error: type[Exception]) -> None:
    """As in a thread; but for what says that the work belongs there, and that is raised there again."""
    is_left = False

    def raising(*_: object) -> None:
        raise error

    def flow() -> Any:
        nonlocal is_left
        try:
            yield call_user(stays=True)
            if raises == "work":
                yield Anywhere(raising)
            raising()
        finally:
            is_left = True

    async def scene() -> None:
        await arun(flow(), lambda: asyncio.sleep(0))

    with pytest.raises(error):
        asyncio.run(scene())

    assert is_left


# --- to wait ---


def test_promise_may_outlive_the_loop_of_who_waited() -> None:
    """A computation that ends when its caller's loop is gone tells no caller."""
    promise: Promise[str] = Promise()

    async def gives_up() -> object:
        return await arun(Taken(Wait(promise, 0)).generator(), lambda: asyncio.sleep(0))

    assert asyncio.run(gives_up()) is None
    promise.keep("late")
    assert promise.is_kept


@pytest.mark.parametrize("step", [Wait(Promise(), 1000), Pause(1000)], ids=["Wait", "Pause"])
def test_who_is_cancelled_while_waiting_stops_at_once(step: Any) -> None:
    """And the steps are closed."""
    taken = Taken(step)

    async def scene() -> None:
        task = asyncio.create_task(arun(taken.generator(), lambda: asyncio.sleep(0)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        assert task.cancelled()

    asyncio.run(scene())

    assert ([], True) == (taken.answers, taken.is_left)


# --- cancelled in the middle of a step ---


@pytest.mark.parametrize(
    ("after", "answers"),
    [
        ((), 1),
        ((CALL_USER,), 2),
        ((CALL_USER, lambda: "tidied up"), 3),
        ((Pause(1000),), 1),
        ((Wait(Promise(), 1000),), 1),
    ],
    ids=["nothing", "COMPUTE", "COMPUTE and a step", "Pause", "Wait"],
)
def test_step_is_taken_to_its_end(after: tuple[Any, ...], answers: int) -> None:
    """Who is cancelled meanwhile computes nothing and waits for nothing, tidies up, and then is cancelled."""
    gate, computed = Gate(), []
    gate.shut()

    def slow() -> str:
        gate.wait_to_pass()
        return "slow"

    async def compute() -> None:
        computed.append("computed")

    taken = Taken(slow, *after)

    async def scene() -> None:
        task = asyncio.create_task(arun(taken.generator(), compute))
        await asyncio.to_thread(gate.wait_reached)
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        assert task.cancelled()

    asyncio.run(scene())

    assert (answers, True, []) == (len(taken.answers), taken.is_left, computed)
    assert ["slow"] == taken.answers[:1]
    assert all(isinstance(each, Err) for each in taken.answers[1:2])


def test_task_that_is_cancelled_twice_in_a_step_waits_for_its_end() -> None:
    """The step's thread may take a lease: the flow gets the answer, and cleans up after it."""
    gate = Gate()
    gate.shut()
    taken = Taken(gate.wait_to_pass, CALL_USER)

    async def scene() -> None:
        task = asyncio.create_task(arun(taken.generator(), lambda: asyncio.sleep(0)))
        await asyncio.to_thread(gate.wait_reached)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        gate.open()
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        assert task.cancelled()

    asyncio.run(scene())

    assert (2, True) == (len(taken.answers), taken.is_left)


def test_computation_that_is_cancelled_leaves_the_thread_to_the_clean_up() -> None:
    """A cancelled `sync_to_async()` leaves its task to the `async_to_sync()` inside it, whose thread takes no work."""
    taken = Taken(CALL_USER, int)

    def ended() -> CurrentThreadExecutor:
        executor, future = CurrentThreadExecutor(None), Future[None]()
        future.set_result(None)
        executor.run_until_future(future)
        return executor

    async def compute() -> None:
        AsyncToSync.executors.current = await asyncio.to_thread(ended)
        raise asyncio.CancelledError

    assert 0 == asyncio.run(arun(taken.generator(), compute))
    assert isinstance(taken.answers[0], Err)


def test_timeout_of_the_caller_is_its_own() -> None:
    """A timeout around a call that runs out in the middle of a step is told as one, and not as a cancellation."""
    gate = Gate()
    gate.shut()
    taken = Taken(gate.wait_to_pass, CALL_USER)

    async def scene() -> None:
        async with asyncio.timeout(None) as limit:
            asyncio.get_running_loop().call_soon(lambda: limit.reschedule(0))
            asyncio.get_running_loop().call_later(0.001, gate.open)
            await arun(taken.generator(), lambda: asyncio.sleep(0))

    with pytest.raises(TimeoutError):
        asyncio.run(scene())
    gate.open()

    assert taken.is_left


def test_coroutine_that_is_not_awaited_any_more_closes_its_steps() -> None:
    """In the middle of the computation nothing can be awaited any more: the generator is left, and no error is lost."""
    taken = Taken(CALL_USER)

    async def scene() -> None:
        reached = asyncio.Event()

        async def compute() -> None:
            reached.set()
            await asyncio.Event().wait()

        coroutine: Any = arun(taken.generator(), compute)
        task = asyncio.create_task(coroutine)
        await reached.wait()
        task.cancel()
        coroutine.close()

    asyncio.run(scene())

    assert taken.is_left


def test_coroutine_that_is_closed_while_a_thread_runs_its_flow_leaves_it_to_that_thread() -> None:
    """A generator that runs can't be closed: it is when the thread has come to its next step."""
    gate, left = Gate(), Event()
    gate.shut()

    def flow() -> Any:
        try:
            gate.wait_to_pass()
            yield CALL_USER
        finally:
            left.set()

    async def scene() -> bool:
        coroutine: Any = arun(flow(), lambda: asyncio.sleep(0))
        task = asyncio.create_task(coroutine)
        await asyncio.to_thread(gate.wait_reached)
        coroutine.close()
        was_left = left.is_set()
        task.cancel()
        gate.open()
        return was_left

    assert asyncio.run(scene()) is False
    assert left.wait(PATIENCE_SECONDS)


def test_steps_between_two_that_the_loop_takes_are_one_change_of_threads() -> None:
    """All that comes before the computation is one, all that comes after it another; the flow runs there, too."""
    threads: list[int] = []

    def here() -> None:
        threads.append(get_ident())

    def flow() -> Any:
        here()
        yield here
        yield here
        outcome = yield CALL_USER
        yield here
        here()
        return outcome

    async def scene() -> object:
        return await arun(flow(), lambda: asyncio.sleep(0, get_ident()))

    with hops() as counted:
        loop = asyncio.run(scene())

    assert (2, 5, 1) == (len(counted), len(threads), len(set(threads)))
    assert loop not in threads


def test_context_of_a_step_is_that_of_the_computation() -> None:
    """What a flow sets in its context is there in the function, and in the caller afterwards."""
    variable: ContextVar[str] = ContextVar("variable", default="before")

    def flow() -> Any:
        yield lambda: variable.set("set")
        return (yield CALL_USER)

    async def compute() -> str:
        return variable.get()

    async def scene() -> tuple[object, str]:
        return await arun(flow(), compute), variable.get()

    assert ("set", "set") == asyncio.run(scene())
