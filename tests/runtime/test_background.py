"""The background executor: the context, connections and loops of what it runs."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Event
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.cache import caches
from django.db import connection
from django.utils import timezone
from django.utils.translation import get_language, override

from cachedeco.runtime import background
from tests.support.threads import PATIENCE_SECONDS, in_thread

here: ContextVar[str] = ContextVar("here", default="nowhere")


def test_work_has_the_language_and_the_time_zone_of_who_asked_for_it() -> None:
    """
    What depends on them gives there what it gives here.

    The defect: some asgiref tie both to the thread, and so a value in German was replaced by one in English, or called
    inconsistent with it.
    """
    seen: list[tuple[str | None, str]] = []
    came = Event()

    def work() -> None:
        seen.append((get_language(), timezone.get_current_timezone_name()))
        came.set()

    with override("de"), timezone.override("Europe/Berlin"):
        background.submit(work)

    assert came.wait(PATIENCE_SECONDS)
    assert [("de", "Europe/Berlin")] == seen


@pytest.mark.django_db(transaction=True)
def test_work_leaves_no_database_connection_open() -> None:
    """A thread of ours has one while it works: the database has a place for another meanwhile."""
    open_then: list[bool] = []

    def work() -> None:
        connection.ensure_connection()
        open_then.append(connection.connection is not None)

    def worked() -> bool:
        background.detach(work)()
        return connection.connection is not None

    with ThreadPoolExecutor(1) as threads:
        is_open = threads.submit(worked).result(PATIENCE_SECONDS)

    assert ([True], False) == (open_then, is_open)


# --- in a loop ---


def test_task_that_fails_is_no_complaint_of_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is lost: the steps have told of it."""

    async def work() -> None:
        raise LookupError

    async def calls() -> None:
        background.start(work)
        await asyncio.wait(background._tasks)

    asyncio.run(calls())
    gc.collect()

    assert [] == caplog.records


def test_loop_that_ends_takes_along_what_has_not_begun() -> None:
    """Python does not complain of coroutines that were never awaited; warnings are errors here."""

    async def work() -> None:
        pytest.fail("begun")

    async def calls() -> None:
        background.start(work)

    asyncio.run(calls())
    gc.collect()

    assert set() == background._tasks


@pytest.mark.django_db(transaction=True)
def test_task_has_a_thread_and_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A caller whose thread Django ends with the request is not kept waiting, and nothing is left open behind him.

    The defect: each task that outlived a request had a thread of its own, and a connection that was never closed.
    """
    room = background._TaskThread()
    seen: list[tuple[str, object, object]] = []
    closed: list[object] = []

    def look() -> None:
        connection.ensure_connection()
        seen.append((threading.current_thread().name.partition("_")[0], connection.connection, caches["default"]))

    async def work(both: asyncio.Barrier) -> None:
        await sync_to_async(look)()
        if await both.wait() == 0:  # one of them
            await asyncio.wait({*background._tasks} - {asyncio.current_task()})  # type: ignore[arg-type]
        await sync_to_async(look)()

    async def calls() -> object:
        both = asyncio.Barrier(2)
        async with ThreadSensitiveContext():
            mine = await sync_to_async(lambda: caches["default"])()
            background.start(partial(work, both))
            background.start(partial(work, both))
        await asyncio.gather(*background._tasks)
        return mine

    monkeypatch.setattr(background, "_task_thread", room)
    monkeypatch.setattr(type(caches["default"]), "close", lambda self, **_: closed.append(self))
    mine = asyncio.run(calls())
    there = room._thread.submit(lambda: connection.connection)
    left = there.result(PATIENCE_SECONDS)

    assert [("cachedeco-tasks", seen[0][1])] * 4 == [each[:2] for each in seen]
    assert {id(each) for _, _, each in seen} == set(map(id, closed))
    assert (2, False) == (len(closed), mine in closed)
    assert None is left


def test_task_of_a_caller_under_async_to_sync_outlives_it() -> None:
    """
    As of a sync view under ASGI, whose thread takes no steps any more when `async_to_sync` has returned.

    The defect: an async function that such a view had called was computed in the background, and never stored.
    """
    gates: list[asyncio.Event] = []
    seen: list[str] = []

    async def work() -> None:
        await gates[0].wait()
        await sync_to_async(lambda: seen.append(threading.current_thread().name.partition("_")[0]))()

    async def called() -> None:
        background.start(work)

    async def calls() -> None:
        gates.append(asyncio.Event())
        await sync_to_async(async_to_sync(called))()
        gates[0].set()
        await asyncio.gather(*background._tasks)

    asyncio.run(calls())

    assert ["cachedeco-tasks"] == seen


def test_task_that_outlives_its_loop_closes_nothing_and_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the interpreter there is no thread any more that could close anything."""
    room = background._TaskThread()
    room._thread.shutdown()
    monkeypatch.setattr(background, "_task_thread", room)
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    async def calls() -> None:
        background.start(work)
        await asyncio.gather(*background._tasks)

    asyncio.run(calls())

    assert ["done"] == done


def test_task_whose_loop_was_closed_gives_its_room_to_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A loop that is closed, and cancels nothing before, takes no room for ever; it is Python that complains.

    The defect: after so many such loops no async function was refreshed or audited any more.
    """
    taken: list[bool] = []

    async def work() -> None:
        await asyncio.Event().wait()

    async def calls() -> None:
        taken.append(background.start(work))
        await asyncio.sleep(0)

    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(calls())
        loop.close()
    asyncio.run(calls())
    gc.collect()

    assert ([True] * 3, set()) == (taken, background._tasks)
    assert ["asyncio"] * 2 == [each.name for each in caplog.records]


def test_task_that_is_freed_in_the_middle_of_another_closes_what_is_its_own() -> None:
    """
    Its coroutine may be freed anywhere, after its loop was closed: also where its thread is given work.

    The defect: the thread that freed it waited for a lock that it held.
    """
    closed = threading.Event()

    class Held:
        def close(self) -> None:
            closed.set()

    def free() -> None:
        thread = background._thread_of_tasks()
        task: Any = background._run_task(partial(asyncio.sleep, 0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(background, "_detach_from_caches", lambda: ["default"])
            patch.setattr(background, "caches", {"default": Held()})
            copy_context().run(task.send, None)
        with thread._thread._shutdown_lock:  # type: ignore[attr-defined] # as in the middle of its `submit()`
            task.close()

    in_thread(free)

    assert closed.wait(PATIENCE_SECONDS)
