"""The auditor's delay queue: in order, when it is time, without a place before that; and no end waits for it."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from threading import Event, Semaphore

import pytest

from cachedeco.auditing import later
from cachedeco.auditing.later import Delay
from cachedeco.runtime import background, state
from tests.support.threads import PATIENCE_SECONDS, in_thread

here: ContextVar[str] = ContextVar("here", default="nowhere")


class Hourglass:
    """A clock that stands still, and wakes who waits for it when it is turned."""

    def __init__(self, queue: later._Later) -> None:
        """Begin at zero."""
        self.now = 0.0
        self._queue = queue
        self._asked = Semaphore(0)

    def __call__(self) -> float:
        """Return the time."""
        self._asked.release()
        return self.now

    def is_awaited(self) -> bool:
        """Tell, after the first work is there, whether the thread has asked how long to wait for it."""
        return all(self._asked.acquire(timeout=PATIENCE_SECONDS) for _ in ("to know when", "to know how long"))

    def turn(self, seconds: float) -> None:
        """Let some time pass."""
        self.now += seconds
        self._queue._changes.put(None)


@pytest.fixture
def hourglass(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hourglass]:
    """Give the clock of what is done later, of which there is nothing yet; leave nothing waiting."""
    queue = later._Later()
    glass = Hourglass(queue)
    monkeypatch.setattr(later, "_later", queue)
    monkeypatch.setattr(later, "monotonic", glass)
    yield glass
    glass.turn(1e9)


def waiters() -> list[threading.Thread]:
    """Return the threads that wait until it is time."""
    return [each for each in threading.enumerate() if each.name == "cachedeco-later"]


def test_work_is_done_when_it_is_time_and_in_its_order(hourglass: Hourglass) -> None:
    """What comes first is done first, in any order in which it was said; nothing is done before its time."""
    done: list[str] = []
    came = Semaphore(0)

    def work(name: str) -> None:
        done.append(name)
        came.release()

    for name, after in (("second", 60), ("third", 61), ("first", 30)):
        assert Delay(after).submit(lambda name=name: work(name))  # type: ignore[misc] # a default
    seen = [[*done]]
    for seconds, count in ((30, 1), (29, 0), (1, 1), (100, 1)):
        hourglass.turn(seconds)
        for _ in range(count):
            assert came.acquire(timeout=PATIENCE_SECONDS)
        seen.append([*done])

    names = ["first", "second", "third"]
    assert [[], names[:1], names[:1], names[:2], names] == seen


def test_work_has_the_context_of_who_asked_for_it(hourglass: Hourglass) -> None:
    """It is that of the moment of asking, in a thread of the auditor."""
    seen: list[tuple[str, str]] = []
    came = Event()

    def work() -> None:
        seen.append((here.get(), threading.current_thread().name.partition("_")[0]))
        came.set()

    token = here.set("there")
    Delay(1).submit(work)
    here.reset(token)
    hourglass.turn(1)

    assert came.wait(PATIENCE_SECONDS)
    assert [("there", "cachedeco-audit")] == seen


@pytest.mark.parametrize(("most", "is_taken"), [(1, False), (2, True)])
def test_work_that_finds_no_room_is_refused(
    hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch, *, most: int, is_taken: bool
) -> None:
    """So much may wait, and no more."""
    monkeypatch.setattr(later, "MOST_LATER", most)
    Delay(60).submit(str)

    taken = Delay(60).submit(str)

    assert is_taken == taken
    hourglass.turn(60)


def test_work_may_be_for_the_end_of_time(hourglass: Hourglass) -> None:
    """
    What is further away than a thread can wait at once is waited for all the same.

    The defect that this is about: the thread that waits for all would end by an error, and nothing be done later.
    """
    came = Event()
    Delay(1e12).submit(came.set)
    assert hourglass.is_awaited()

    hourglass.turn(1e13)

    assert came.wait(PATIENCE_SECONDS)


def test_work_that_comes_later_and_is_due_sooner_is_not_kept_waiting(hourglass: Hourglass) -> None:
    """Who waits for what was said first looks again when something else is said."""
    came = Event()
    Delay(3600).submit(str)
    assert hourglass.is_awaited()

    Delay(0.001).submit(came.set)
    hourglass.now = 1

    assert came.wait(PATIENCE_SECONDS)


def test_work_needs_no_place_when_it_is_time(hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was taken on is not given up because others fill the queue, before its time or then.

    The defect: who waited for a place, among many who took it or left it, never got one.
    """
    came = Event()
    monkeypatch.setattr(background, "LONGEST_QUEUE", 0)
    Delay(60).submit(came.set)

    hourglass.turn(60)

    assert came.wait(PATIENCE_SECONDS)


def test_one_thread_waits_for_all_and_the_interpreter_for_none(hourglass: Hourglass) -> None:
    """It is a daemon, which ends where nothing is left to wait for."""
    came = Semaphore(0)
    before = {*waiters()}
    for _ in range(3):
        Delay(60).submit(came.release)
    during = waiters()

    hourglass.turn(60)
    for _ in range(3):
        assert came.acquire(timeout=PATIENCE_SECONDS)

    [mine] = {*during} - before  # others may end meanwhile
    mine.join(PATIENCE_SECONDS)
    assert (True, False) == (mine.daemon, mine.is_alive())
    Delay(60).submit(came.release)
    hourglass.turn(60)
    assert came.acquire(timeout=PATIENCE_SECONDS)


def test_end_of_the_interpreter_is_no_error(hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started any more, work that is due is dropped, and the waiting thread ends."""
    asked = Semaphore(0)
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "cachedeco-audit":
            asked.release()
            raise RuntimeError
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    for after in (60, 61):
        Delay(after).submit(str)

    hourglass.turn(61)

    assert [True] * 2 == [asked.acquire(timeout=PATIENCE_SECONDS) for _ in range(2)]


def test_work_that_is_due_is_done_one_at_a_time(hourglass: Hourglass) -> None:
    """Much that is due at once takes one thread, so that the interpreter ends after one of it, and not after all."""
    running: list[int] = []
    came = Semaphore(0)
    before = threading.enumerate()  # that of another test may be at its end

    def work() -> None:
        now = [each for each in threading.enumerate() if each not in before and each.name == "cachedeco-audit"]
        running.append(len(now))
        came.release()

    for _ in range(3):
        Delay(60).submit(work)
    hourglass.turn(60)

    assert [True] * 3 == [came.acquire(timeout=PATIENCE_SECONDS) for _ in range(3)]
    assert [1] * 3 == running


def test_finalizer_that_runs_while_the_thread_is_started_adds_work(
    hourglass: Hourglass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector may run it in the thread that does the start, and no lock is held meanwhile; one thread waits."""
    done: list[str] = []
    came = Semaphore(0)
    before = len(waiters())

    def work(name: str) -> None:
        done.append(name)
        came.release()

    def start_and_collect(start: Callable[[], object]) -> None:
        monkeypatch.setattr(later, "uninterrupted", lambda start: start())
        in_thread(lambda: Delay(60).submit(lambda: work("of the finalizer")))
        start()

    monkeypatch.setattr(later, "uninterrupted", start_and_collect)
    Delay(30).submit(lambda: work("of the caller"))
    hourglass.turn(60)

    assert [True] * 2 == [came.acquire(timeout=PATIENCE_SECONDS) for _ in range(2)]
    assert ["of the caller", "of the finalizer"] == done
    assert len(waiters()) <= before + 1


def test_work_is_refused_while_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started any more, as Python 3.12 says by an error."""

    def refuse(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(later, "_later", later._Later())
    monkeypatch.setattr(later, "uninterrupted", refuse)

    assert not Delay(60).submit(int)


def test_forked_child_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child has neither the thread that waits, nor what it waits for, nor its lock."""
    parents = later._Later()
    monkeypatch.setattr(later, "_later", parents)
    monkeypatch.setattr(later, "_tasks", {"a task of the parent"})

    with parents._lock:
        state.reset_in_child()

    assert later._later is not parents
    assert ([], set()) == (later._later._waiting, later._tasks)


# --- in a loop ---


def test_task_waits_first_and_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coroutine is begun after so many seconds; meanwhile, and then, the background has room for others."""
    calls: list[tuple[float, object]] = []
    done: list[str] = []

    async def work(name: str) -> None:
        done.append(name)

    async def scene() -> list[bool]:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", lambda seconds, *call: calls.append((seconds, call)))
        taken = [Delay(60).start(partial(work, "later")), background.start(partial(work, "now"))]
        await asyncio.gather(*background._tasks)
        [(_, (callback, *arguments))] = calls
        callback(*arguments)
        await asyncio.gather(*later._tasks)
        return taken

    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)

    assert [True, True] == asyncio.run(scene())
    assert ([60], ["now", "later"], set()) == ([seconds for seconds, _ in calls], done, later._tasks)


def test_loop_that_ends_takes_along_what_waits() -> None:
    """Python does not complain of coroutines that were never awaited; warnings are errors here."""

    async def work() -> None:
        pytest.fail("begun")

    async def scene() -> None:
        Delay(60).start(work)

    asyncio.run(scene())
    gc.collect()

    assert set() == later._tasks
