"""
Delay queue for the second looks of audits.

Delayed work does not wait in the background executor, where it would take a slot from a refresh. For sync functions one
daemon thread waits, and runs one second look at a time in a non-daemon thread: at exit the interpreter waits for the
running one, and drops those in the queue. The second look of an async function waits in the caller's event loop, and is
dropped if that ends; under `async_to_sync()`, where it always ends, it is as of a sync function.
"""

import asyncio
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from time import monotonic
from typing import Any, Final, NamedTuple

from cachedeco.runtime import background
from cachedeco.runtime.background import AsyncJob, Job
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.uninterrupted import uninterrupted

# Capacity of the delay queue: each second look holds an entry.
MOST_LATER: Final = 1000


class Delay(NamedTuple):
    """An executor that starts work after a number of seconds."""

    seconds: float

    def submit(self, work: Job) -> bool:
        """Run work in a thread, with the context of this call; return False if the queue is full."""
        return _later.add(self.seconds, background.detach(work))

    def start(self, work: AsyncJob) -> bool:
        """Run a coroutine in a task of the running loop, dropped if that ends first; in a thread if it will."""
        if background.loop_ends_with_call():
            return self.submit(background.in_loop_of_its_own(work))
        asyncio.get_running_loop().call_later(self.seconds, _start, work)
        return True


def _start(work: AsyncJob) -> None:
    background.drop_closed(_tasks)
    background.create_task(work, _tasks)


class _Later:
    """A delay queue, and one daemon thread that waits for its earliest item. Thread-safe."""

    def __init__(self) -> None:
        """Create an empty queue; the thread starts with the first item."""
        # Not a condition, whose methods are Python code: an interrupt at the wrong line of it leaves it locked.
        self._lock = RLock()
        self._changes: SimpleQueue[None] = SimpleQueue()  # what the thread waits for
        self._waiting: list[tuple[float, int, Job]] = []  # a heap
        self._number = count()  # orders items that start at the same time
        self._is_running = False

    def add(self, after: float, work: Job) -> bool:
        """Run work after a number of seconds; return False if the queue is full, or the interpreter is ending."""
        with self._lock:
            if len(self._waiting) >= MOST_LATER:
                return False
            heappush(self._waiting, (monotonic() + after, next(self._number), work))
            is_running = self._is_running
        self._changes.put(None)
        # Without the lock: a finalizer that runs in the other thread may add work, too.
        if not is_running:
            try:
                # A daemon: otherwise the interpreter would wait at exit for items that start in a minute.
                uninterrupted(Thread(target=self._run, name="cachedeco-later", daemon=True).start)
            except RuntimeError:
                return False
        return True

    def _run(self) -> None:
        with self._lock:
            if self._is_running:  # another caller has started one meanwhile
                return
            self._is_running = True  # by itself: who has started it may have been interrupted
        while (work := self._next()) is not None:
            thread = Thread(target=work, name="cachedeco-audit")
            with suppress(RuntimeError):  # the interpreter is ending
                thread.start()
                thread.join()

    def _next(self) -> Job | None:
        """Wait for the next item and return it; None if the queue is empty, and the thread ends."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_running = False
                    return None
                seconds = self._waiting[0][0] - monotonic()
                if seconds <= 0:
                    return heappop(self._waiting)[-1]
            with suppress(Empty):
                self._changes.get(timeout=min(seconds, TIMEOUT_MAX))


_later = _Later()
_tasks: set[asyncio.Task[Any]] = set()


def begin_anew() -> None:
    """Create an empty queue in a forked child, which does not have its parent's thread."""
    global _later  # noqa: PLW0603 -- only here
    _later = _Later()
    _tasks.clear()
