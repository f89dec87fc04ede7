"""What is to be done later: in its order, when it is time, without a place before that; and no end waits for it."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from threading import BoundedSemaphore, Event, Semaphore
from types import SimpleNamespace

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache import caches
from django.db import connection
from django.utils import timezone
from django.utils.translation import get_language, override

from cachedeco.runtime import background, state
from tests.threads import PATIENCE_SECONDS

here: ContextVar[str] = ContextVar("here", default="nowhere")


class Hourglass:
    """A clock that stands still, and wakes who waits for it when it is turned."""

    def __init__(self, later: background._Later) -> None:
        """Begin at zero."""
        self.now = 0.0
        self._later = later
        self._asked = Semaphore(0)

    def __call__(self) -> float:
        """Return the time."""
        self._asked.release()
        return self.now

    def is_awaited(self) -> bool:
        """Tell, after the first work is there, whether the thread waits for it: it holds the lock until it does."""
        asked = [self._asked.acquire(timeout=PATIENCE_SECONDS) for _ in ("to know when", "to know how long")]
        with self._later._changed:  # noqa: SLF001 -- there is no other end to it
            return all(asked)

    def turn(self, seconds: float) -> None:
        """Let some time pass."""
        with self._later._changed:  # noqa: SLF001 -- there is no other end to it
            self.now += seconds
            self._later._changed.notify_all()  # noqa: SLF001


@pytest.fixture
def hourglass(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hourglass]:
    """Give the clock of what is to be done later, of which there is nothing yet; leave nothing waiting."""
    later = background._Later()  # noqa: SLF001 -- one of this test's own
    glass = Hourglass(later)
    monkeypatch.setattr(background, "_later", later)
    monkeypatch.setattr(background, "monotonic", glass)
    yield glass
    glass.turn(1e9)


def waiters() -> list[threading.Thread]:
    """Return the threads that wait until it is time."""
    return [each for each in threading.enumerate() if each.name == "cachedeco-later"]


def test_work_is_done_when_it_is_time_and_in_its_order(hourglass: Hourglass) -> None:
    """What comes first is done first, whatever was said first; nothing is done before its time."""
    done: list[str] = []
    came = Semaphore(0)

    def work(name: str) -> None:
        done.append(name)
        came.release()

    for name, after in (("second", 60), ("third", 61), ("first", 30)):
        assert background.submit(lambda name=name: work(name), after)  # type: ignore[misc] # a default
    seen = [[*done]]
    for seconds, count in ((30, 1), (29, 0), (1, 1), (100, 1)):
        hourglass.turn(seconds)
        for _ in range(count):
            assert came.acquire(timeout=PATIENCE_SECONDS)
        seen.append([*done])

    names = ["first", "second", "third"]
    assert [[], names[:1], names[:1], names[:2], names] == seen


def test_work_has_the_context_of_who_asked_for_it(hourglass: Hourglass) -> None:
    """It is that of the moment of asking, in one of the threads of the background."""
    seen: list[tuple[str, str]] = []
    came = Event()

    def work() -> None:
        seen.append((here.get(), threading.current_thread().name.partition("_")[0]))
        came.set()

    token = here.set("there")
    background.submit(work, 1)
    here.reset(token)
    hourglass.turn(1)

    assert came.wait(PATIENCE_SECONDS)
    assert [("there", "cachedeco")] == seen


@pytest.mark.parametrize("after", [0, 1])
def test_work_has_the_language_and_the_time_zone_of_who_asked_for_it(hourglass: Hourglass, after: float) -> None:
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
        background.submit(work, after)
    hourglass.turn(after)

    assert came.wait(PATIENCE_SECONDS)
    assert [("de", "Europe/Berlin")] == seen


@pytest.mark.parametrize(("most", "is_taken"), [(1, False), (2, True)])
def test_work_that_finds_no_room_is_refused(
    hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch, *, most: int, is_taken: bool
) -> None:
    """So much may wait, and no more."""
    monkeypatch.setattr(background, "MOST_LATER", most)
    background.submit(str, 60)

    taken = background.submit(str, 60)

    assert is_taken == taken
    hourglass.turn(60)


def test_work_may_be_for_the_end_of_time(hourglass: Hourglass) -> None:
    """
    What is further away than a thread can wait at once is waited for all the same.

    The defect that this is about: the thread that waits for all would end by an error, and nothing be done later.
    """
    came = Event()
    background.submit(came.set, 1e12)
    assert hourglass.is_awaited()

    hourglass.turn(1e13)

    assert came.wait(PATIENCE_SECONDS)


def test_work_that_comes_later_and_is_due_sooner_is_not_kept_waiting(hourglass: Hourglass) -> None:
    """Who waits for what was said first looks again when something else is said."""
    came = Event()
    background.submit(str, 3600)
    assert hourglass.is_awaited()

    background.submit(came.set, 0.001)
    hourglass.now = 1

    assert came.wait(PATIENCE_SECONDS)


def test_work_needs_no_place_when_it_is_time(hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was taken on is not given up because others fill the queue; and before its time it takes no place.

    The defect: who waited for a place, among many who took it or left it, never got one.
    """
    places, came = BoundedSemaphore(), Event()
    monkeypatch.setattr(background, "_places", places)
    background.submit(came.set, 60)
    before = places.acquire(blocking=False)

    hourglass.turn(60)

    assert (True, True) == (before, came.wait(PATIENCE_SECONDS))


def test_work_that_is_due_leaves_the_threads_to_others(hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Much that is due at once is done in turn, and what comes now is done before the rest of it.

    The defect: all of it stood in the queue of the threads, before every refresh, and the interpreter ended after it.
    """
    done: list[str] = []
    began, go_on, came = Event(), Event(), Semaphore(0)

    def work(name: str) -> None:
        if name == "first":
            began.set()
            go_on.wait(PATIENCE_SECONDS)
        done.append(name)
        came.release()

    monkeypatch.setattr(background, "_turns", BoundedSemaphore())
    for name in ("first", "second"):
        background.submit(partial(work, name), 60)

    hourglass.turn(60)
    assert began.wait(PATIENCE_SECONDS)
    background.submit(partial(work, "now"))
    assert came.acquire(timeout=PATIENCE_SECONDS)
    go_on.set()

    assert [True] * 2 == [came.acquire(timeout=PATIENCE_SECONDS) for _ in range(2)]
    assert ["now", "first", "second"] == done


def test_one_thread_waits_for_all_and_the_interpreter_for_none(hourglass: Hourglass) -> None:
    """It is a daemon, which ends where nothing is left to wait for."""
    came = Semaphore(0)
    before = {*waiters()}
    for _ in range(3):
        background.submit(came.release, 60)
    during = waiters()

    hourglass.turn(60)
    for _ in range(3):
        assert came.acquire(timeout=PATIENCE_SECONDS)

    [mine] = {*during} - before  # others may end meanwhile
    mine.join(PATIENCE_SECONDS)
    assert (True, False) == (mine.daemon, mine.is_alive())
    background.submit(came.release, 60)
    hourglass.turn(60)
    assert came.acquire(timeout=PATIENCE_SECONDS)


def test_end_of_the_interpreter_is_no_error(hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the threads take nothing any more, work is refused, or dropped when it is due; what waits goes on."""
    ended, asked = ThreadPoolExecutor(1), Semaphore(0)
    ended.shutdown()

    def threads() -> ThreadPoolExecutor:
        asked.release()
        return ended

    places = BoundedSemaphore()
    monkeypatch.setattr(background, "_threads", threads)
    monkeypatch.setattr(background, "_places", places)
    monkeypatch.setattr(background, "_turns", BoundedSemaphore())
    for after in (60, 61):
        background.submit(str, after)

    hourglass.turn(61)

    assert [True] * 2 == [asked.acquire(timeout=PATIENCE_SECONDS) for _ in range(2)]
    assert (False, True) == (background.submit(str), places.acquire(blocking=False))


@pytest.mark.django_db(transaction=True)
def test_work_leaves_no_database_connection_open() -> None:
    """A thread of ours has one while it works: the database has a place for another meanwhile."""
    open_then: list[bool] = []

    def work() -> None:
        connection.ensure_connection()
        open_then.append(connection.connection is not None)

    def worked() -> bool:
        places = BoundedSemaphore()
        places.acquire()
        background._worked(places, copy_context(), work)  # noqa: SLF001 -- as the threads call it
        return connection.connection is not None

    with ThreadPoolExecutor(1) as threads:
        is_open = threads.submit(worked).result(PATIENCE_SECONDS)

    assert ([True], False) == (open_then, is_open)


def test_forked_child_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child has neither the thread that waits, nor what it waits for, nor its lock."""
    for name in ("_places", "_turns", "_pool", "_later", "_room"):
        monkeypatch.setattr(background, name, getattr(background, name))
    for name in ("_tasks", "_sleepers"):
        monkeypatch.setattr(background, name, {"a task of the parent"})
    later = background._later  # noqa: SLF001 -- that of the parent

    with later._changed:  # noqa: SLF001 -- another thread of the parent holds it
        state.reset_in_child()

    assert background._later is not later  # noqa: SLF001
    assert [] == background._later._waiting  # noqa: SLF001
    assert (set(), set()) == (background._tasks, background._sleepers)  # noqa: SLF001


# --- in a loop ---


def test_task_sleeps_first_and_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coroutine is begun after so many seconds; meanwhile there is room for what is to be done now."""
    slept: list[float] = []
    woken = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await woken.wait()

    done: list[str] = []

    async def work(name: str) -> None:
        done.append(name)

    async def calls() -> list[bool]:
        taken = [background.start(work("later"), 60), background.start(work("now"))]
        await asyncio.gather(*background._tasks)  # noqa: SLF001 -- nobody else may wait for them
        done.append("woken")
        woken.set()
        await asyncio.gather(*background._sleepers)  # noqa: SLF001
        return taken

    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)
    monkeypatch.setattr(background, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))

    assert [True, True] == asyncio.run(calls())
    assert ([60], ["now", "woken", "later"], set()) == (slept, done, background._sleepers)  # noqa: SLF001


@pytest.mark.parametrize(("most", "is_taken"), [(1, False), (2, True)])
def test_task_that_finds_no_room_is_refused(monkeypatch: pytest.MonkeyPatch, *, most: int, is_taken: bool) -> None:
    """So many may sleep, and no more."""
    monkeypatch.setattr(background, "MOST_LATER", most)

    async def work() -> None:
        """Do nothing."""

    async def calls() -> bool:
        background.start(work(), 60)
        return background.start(work(), 60)

    assert is_taken == asyncio.run(calls())


def test_task_that_fails_is_no_complaint_of_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is lost: the steps have told of it."""

    async def work() -> None:
        raise LookupError

    async def calls() -> None:
        background.start(work())
        await asyncio.wait(background._tasks)  # noqa: SLF001 -- nobody else may wait for them

    asyncio.run(calls())
    gc.collect()

    assert [] == caplog.records


def test_loop_that_ends_takes_along_what_has_not_begun() -> None:
    """Python does not complain of coroutines that nobody has awaited; warnings are errors here."""

    async def work() -> None:
        pytest.fail("begun")

    async def calls() -> None:
        background.start(work(), 60)
        background.start(work())

    asyncio.run(calls())
    gc.collect()

    assert (set(), set()) == (background._tasks, background._sleepers)  # noqa: SLF001


@pytest.mark.django_db(transaction=True)
def test_task_has_a_thread_and_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A caller whose thread Django ends with the request is not kept waiting, and nothing is left open behind him.

    The defect: each task that outlived a request had a thread of its own, and a database connection that nobody closed.
    """
    room = background._Room()  # noqa: SLF001 -- one of this test's own
    seen: list[tuple[str, object, object]] = []
    closed: list[object] = []

    def look() -> None:
        connection.ensure_connection()
        seen.append((threading.current_thread().name.partition("_")[0], connection.connection, caches["default"]))

    async def work(both: asyncio.Barrier) -> None:
        await sync_to_async(look)()
        if await both.wait() == 0:  # one of them
            await asyncio.wait({*background._tasks} - {asyncio.current_task()})  # type: ignore[arg-type] # noqa: SLF001
        await sync_to_async(look)()

    async def calls() -> object:
        both = asyncio.Barrier(2)
        async with ThreadSensitiveContext():
            mine = await sync_to_async(lambda: caches["default"])()
            background.start(work(both))
            background.start(work(both))
        await asyncio.gather(*background._tasks)  # noqa: SLF001 -- nobody else may wait for them
        return mine

    monkeypatch.setattr(background, "_room", room)
    monkeypatch.setattr(type(caches["default"]), "close", lambda self, **_: closed.append(self))
    mine = asyncio.run(calls())
    there = room._thread.submit(lambda: connection.connection)  # noqa: SLF001 -- there is no other way to ask there
    left = there.result(PATIENCE_SECONDS)

    assert [("cachedeco-tasks", seen[0][1])] * 4 == [each[:2] for each in seen]
    assert {id(each) for _, _, each in seen} == set(map(id, closed))
    assert (2, False) == (len(closed), mine in closed)
    assert None is left


def test_task_that_outlives_its_loop_closes_nothing_and_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the interpreter there is no thread any more that could close anything."""
    room = background._Room()  # noqa: SLF001 -- one of this test's own
    room._thread.shutdown()  # noqa: SLF001 -- as the end of the interpreter does
    monkeypatch.setattr(background, "_room", room)
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    async def calls() -> None:
        background.start(work())
        await asyncio.gather(*background._tasks)  # noqa: SLF001 -- nobody else may wait for them

    asyncio.run(calls())

    assert ["done"] == done


def test_task_whose_loop_was_closed_gives_its_room_to_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Who closes a loop, and cancels nothing before, takes nobody's room for ever; it is Python that complains.

    The defect: after so many such loops no async function was refreshed or audited any more.
    """
    taken: list[bool] = []

    async def work() -> None:
        await asyncio.Event().wait()

    async def calls() -> None:
        taken.append(background.start(work()))
        await asyncio.sleep(0)

    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(calls())
        loop.close()
    asyncio.run(calls())
    gc.collect()

    assert ([True] * 3, set()) == (taken, background._tasks)  # noqa: SLF001
    assert ["asyncio"] * 2 == [each.name for each in caplog.records]
