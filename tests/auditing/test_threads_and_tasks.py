"""The auditor with its threads and tasks: nothing is put in their place but the clock of the second look."""

import asyncio
import threading
from collections.abc import Callable
from threading import Semaphore

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import caches

from cachedeco import cached_query
from cachedeco.auditing import later
from cachedeco.runtime import background
from tests.auditing.conftest import AUDIT_SECONDS, TIMEOUT, Told
from tests.auditing.test_later import Hourglass, hourglass  # noqa: F401 -- as above
from tests.loading.refreshing.conftest import Truth, worked  # noqa: F401 -- a fixture
from tests.support.sides import SYNC
from tests.support.threads import PATIENCE_SECONDS


def test_thread_looks_twice_with_connections_of_its_own(
    truth: Truth,
    told: Told,
    worked: Semaphore,
    hourglass: Hourglass,
) -> None:
    """The caller is served at once; both looks are in threads of ours, with cache objects of their own."""
    threads: list[str] = []
    theirs: list[object] = []

    def look() -> None:
        threads.append(threading.current_thread().name.partition("_")[0])
        theirs.append(caches["default"])

    read = truth.cached(SYNC, timeout=TIMEOUT)
    read(1)
    truth.value, truth.meanwhile = "new", look

    found = read(1)

    assert worked.acquire(timeout=PATIENCE_SECONDS)
    hourglass.turn(AUDIT_SECONDS)
    assert worked.acquire(timeout=PATIENCE_SECONDS)
    assert ("old", ["cachedeco", "cachedeco-audit"], ["inconsistent"]) == (found, threads, told.kinds)
    assert caches["default"] not in theirs


def test_task_of_the_same_loop_looks_twice(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an async function awaits may belong to its loop: it is computed anew there, and the caller is not kept."""
    loops: list[asyncio.AbstractEventLoop] = []
    slept: list[float] = []

    def call_later(seconds: float, callback: Callable[..., object], *args: object) -> None:
        slept.append(seconds)
        callback(*args)

    @cached_query(timeout=TIMEOUT, ignore=("loops",))
    async def read() -> int:
        loops.append(asyncio.get_running_loop())
        return len(loops)

    async def calls() -> tuple[int, int]:
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
        found = await read(), await read()
        await asyncio.gather(*background._tasks)
        await asyncio.gather(*later._tasks)
        return found

    assert (1, 1) == asyncio.run(calls())
    assert ([AUDIT_SECONDS], 3, 1, ["inconsistent"]) == (slept, len(loops), len(set(loops)), told.kinds)


def test_loop_of_one_call_leaves_both_looks_to_threads(
    truth: Truth, told: Told, worked: Semaphore, hourglass: Hourglass
) -> None:
    """Under `async_to_sync()`, as in a view under WSGI, loops of threads of ours look: the caller's loop ends."""

    @async_to_sync
    @cached_query(timeout=TIMEOUT, ignore=("truth",))
    async def read() -> object:
        return truth.read()

    read()
    truth.value = "new"

    found = read()

    assert worked.acquire(timeout=PATIENCE_SECONDS)
    hourglass.turn(AUDIT_SECONDS)
    assert worked.acquire(timeout=PATIENCE_SECONDS)
    assert ("old", 3, ["inconsistent"]) == (found, truth.read_count, told.kinds)


@pytest.mark.parametrize("is_gathered", [True, False], ids=["after the first look", "before it"])
def test_loop_that_ends_takes_the_audit_along(truth: Truth, told: Told, *, is_gathered: bool) -> None:
    """Where a loop lives for one call, nothing is said of what was looked at once, and Python does not complain."""

    @cached_query(timeout=TIMEOUT, ignore=("truth",))
    async def read() -> object:
        return truth.read()

    async def calls() -> object:
        found = await read()
        if is_gathered:
            await asyncio.gather(*background._tasks)
        return found

    asyncio.run(read())
    truth.value = "new"

    assert "old" == asyncio.run(calls())
    assert [] == told


def test_audit_that_is_cancelled_is_no_event(told: Told) -> None:
    """A loop that ends while the function computes anew has not failed."""
    began = asyncio.Event()

    @cached_query(timeout=TIMEOUT, ignore=("began", "stored"))
    async def read() -> int:
        if stored:
            began.set()
            await asyncio.Event().wait()
        return 1

    stored: list[int] = []

    async def again() -> int:
        found = await read()
        await began.wait()
        return found

    stored.append(asyncio.run(read()))
    found = asyncio.run(again())

    assert ([1], 1, []) == (stored, found, told)
