"""Work for which no caller waits: places, contexts, connections, errors, and ends."""

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from cachedeco.runtime import background, state
from tests.support.programs import run
from tests.support.threads import PATIENCE_SECONDS, in_thread

coloured: ContextVar[str] = ContextVar("coloured", default="none")


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give each test a pool and places of its own, and wait for what it has begun."""
    monkeypatch.setattr(background, "_futures", set())
    with ThreadPoolExecutor(background.THREADS) as executor:
        monkeypatch.setattr(background, "_pool", executor)
        yield executor


def held(stack: ExitStack) -> threading.Event:
    """Return an event that is set when the block ends, at the latest."""
    event = threading.Event()
    stack.callback(event.set)
    return event


# --- threads ---


def test_work_is_done_in_another_thread_with_the_context_of_the_caller() -> None:
    """What a context variable says to the caller it says to the work."""
    said: list[tuple[str, bool]] = []
    done = threading.Event()
    before = coloured.set("red")
    try:
        assert background.submit(
            lambda: (said.append((coloured.get(), threading.current_thread() is threading.main_thread())), done.set())
        )
    finally:
        coloured.reset(before)

    assert done.wait(PATIENCE_SECONDS)
    assert [("red", False)] == said


def test_pool_is_begun_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that refreshes nothing has no threads of ours."""
    monkeypatch.setattr(background, "_pool", None)
    done = threading.Event()

    assert background.submit(done.set)

    assert done.wait(PATIENCE_SECONDS)
    begun: Any = background._pool
    begun.shutdown()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_work_raises_is_lost_and_its_place_is_not(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor, error: type[BaseException]
) -> None:
    """After any end of the work the connections of the thread are closed, the place is free, and the thread goes on."""
    closed: list[str] = []
    monkeypatch.setattr(background, "connections", type("Spy", (), {"close_all": lambda _: closed.append("all")})())
    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)

    def work() -> None:
        raise error

    for _ in range(background.THREADS + 1):
        assert background.submit(work)
        assert pool.submit(int).result(PATIENCE_SECONDS) == 0
        wait_for_places()

    assert ["all"] * (background.THREADS + 1) == closed


def wait_for_places() -> None:
    """Return when all work is done."""
    assert not wait(background._futures.copy(), PATIENCE_SECONDS).not_done


def test_work_that_finds_no_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is short, with those under way; the last place is given, and the next one refused."""
    monkeypatch.setattr(background, "LONGEST_QUEUE", 3)

    with ExitStack() as stack:
        go_on = held(stack)
        answers = [background.submit(go_on.wait) for _ in range(4)]
        answers.append(in_thread(lambda: background.submit(int)))
    wait_for_places()

    assert [True, True, True, False, False] == answers
    assert background.submit(int)


def test_work_is_refused_when_the_pool_has_ended(monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
    """Who comes too late is told so, and keeps no place."""
    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)
    pool.shutdown()

    assert [False, False] == [background.submit(int), background.submit(int)]

    monkeypatch.setattr(background, "_pool", None)
    assert background.submit(int)
    begun: Any = background._pool
    begun.shutdown()


def test_work_that_comes_in_the_middle_of_another_is_refused(pool: ThreadPoolExecutor) -> None:
    """A signal's handler, or a finalizer, would wait for a lock of the pool, which its own thread holds."""
    answers: list[bool] = []
    submit = pool.submit
    done = threading.Event()

    def interrupted(work: Callable[[], object]) -> Future[object]:
        answers.append(background.submit(int))
        return submit(work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "submit", interrupted)
        assert background.submit(done.set)

    assert done.wait(PATIENCE_SECONDS)
    assert ([False], True) == (answers, background.submit(int))


def test_work_that_is_done_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an interrupt came before the pool was told to forget it at its end."""
    monkeypatch.setattr(background, "LONGEST_QUEUE", 2)
    done: Future[object] = Future()
    done.set_result(None)
    background._futures |= {done, Future()}

    answers = [background.submit(int)]
    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)

    assert [True, False] == [*answers, background.submit(int)]


ENDING = """
import atexit, os
import django
django.setup()
from cachedeco.runtime import background
def tell(what):
    os.write(1, f"{what} ".encode())  # in one, as two threads tell
atexit.register(lambda: tell(background.submit(lambda: tell("never"))))
tell(background.submit(lambda: tell("done")))
"""


def test_work_is_refused_while_the_interpreter_ends() -> None:
    """What was taken on is done first, and what comes then is refused without an error."""
    done = run("-c", ENDING)

    *before, last = done.stdout.split()
    assert (["True", "done"], "False", "") == (sorted(before), last, done.stderr)


ENDING_WITH_COROUTINE = """
import os
from concurrent.futures import ThreadPoolExecutor
import django
django.setup()
from asgiref.sync import async_to_sync
from cachedeco.runtime import background
def work_until_the_end():
    try:
        while True:
            ThreadPoolExecutor(1).submit(int).result()
    except RuntimeError:
        pass
async def work():
    os.write(1, b"never ")
async def call():
    return background.start(work)
for _ in range(background.THREADS):
    background.submit(work_until_the_end)
print(async_to_sync(call)())
"""


def test_coroutine_for_a_thread_is_dropped_in_silence_while_the_interpreter_ends() -> None:
    """
    No loop can begin then.

    The defect: three warnings of coroutines that were never awaited, on the standard error of each such process.
    """
    done = run("-c", ENDING_WITH_COROUTINE)

    assert ("True\n", "") == (done.stdout, done.stderr)


# --- tasks ---


async def ended() -> None:
    """Return when all tasks have ended, and what they call then."""
    await asyncio.wait(background._tasks)
    await asyncio.sleep(0)


async def raising(error: BaseException) -> None:
    """Raise."""
    raise error


def test_coroutine_goes_on_in_a_task_of_the_loop() -> None:
    """It is not lost though no caller keeps it, and has the context of the caller."""

    async def scene() -> list[str]:
        said: list[str] = []
        done = asyncio.Event()

        async def work() -> None:
            await asyncio.sleep(0)
            said.append(coloured.get())
            done.set()

        coloured.set("blue")
        assert background.start(work)
        gc.collect()
        await done.wait()
        return said

    assert ["blue"] == asyncio.run(scene())
    assert set() == background._tasks


def test_coroutine_that_finds_no_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And never made, so that Python does not warn of one that was never awaited."""
    monkeypatch.setattr(background, "LONGEST_QUEUE", 2)

    async def scene() -> tuple[list[bool], bool]:
        go_on = asyncio.Event()
        answers = [background.start(go_on.wait) for _ in range(3)]
        go_on.set()
        await ended()
        return answers, background.start(partial(asyncio.sleep, 0))

    answers = asyncio.run(scene())
    gc.collect()

    assert ([True, True, False], True) == answers


def test_what_a_task_raises_is_lost() -> None:
    """Asyncio does not complain of it, nor of a task that was cancelled."""

    async def scene() -> list[dict[str, Any]]:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        background.start(partial(raising, ValueError()))
        background.start(partial(raising, asyncio.CancelledError()))
        await ended()
        gc.collect()
        return complaints

    assert [] == asyncio.run(scene())


# --- a forked child ---


def test_child_has_threads_and_places_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the parent's it has none: all places are free again, and threads are begun anew."""
    monkeypatch.setattr(background, "_futures", {Future() for _ in range(background.LONGEST_QUEUE)})
    monkeypatch.setattr(background, "_tasks", {"a task of the parent"})

    state.reset_in_child()

    assert (None, set()) == (background._pool, background._tasks)
    with ExitStack() as stack:
        go_on = held(stack)
        answers = [background.submit(go_on.wait) for _ in range(background.LONGEST_QUEUE + 1)]
    assert [True] * background.LONGEST_QUEUE + [False] == answers
    begun: Any = background._pool
    begun.shutdown()
