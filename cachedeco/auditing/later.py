"""
Delayed work: the second looks of audits.

Nothing waits in the background executor, where it would hold a place that a refresh needs. One daemon thread waits for
the second looks of sync functions, and runs one at a time in a thread of its own: the interpreter waits at its end for
that one, and not for those that are due later. The second look of an async function waits in the caller's loop, and is
dropped with it.
"""

import asyncio
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from threading import TIMEOUT_MAX, Condition, Thread
from time import monotonic
from typing import Any, Final, NamedTuple

from cachedeco.runtime import background
from cachedeco.runtime.background import AsyncWork, Work

# Second looks that wait for their time: each holds an entry.
MOST_LATER: Final = 1000


class Delay(NamedTuple):
    """An executor that waits for so many seconds before it begins."""

    seconds: float

    def submit(self, work: Work) -> bool:
        """Run some work in a thread, with the context of this call; return False if too much waits already."""
        return _later.add(self.seconds, background.detached(work))

    def start(self, work: AsyncWork) -> bool:
        """Run a coroutine in a task of the running loop; it is dropped if the loop ends before."""
        asyncio.get_running_loop().call_later(self.seconds, _start, work)
        return True


def _start(work: AsyncWork) -> None:
    background.drop_closed(_tasks)
    background.create_task(work, _tasks)


class _Later:
    """A delay queue, and one daemon thread that waits for the first work in it."""

    def __init__(self) -> None:
        """Begin with nothing, and without the thread."""
        self._changed = Condition()
        self._waiting: list[tuple[float, int, Work]] = []  # a heap
        self._number = count()  # the order of work that is due at the same time
        self._is_running = False

    def add(self, after: float, work: Work) -> bool:
        """Run some work after so many seconds; return False if the queue is full."""
        with self._changed:
            if len(self._waiting) >= MOST_LATER:
                return False
            heappush(self._waiting, (monotonic() + after, next(self._number), work))
            if not self._is_running:
                # A daemon, or the interpreter would wait at its end for work that is due in a minute.
                Thread(target=self._run, name="cachedeco-later", daemon=True).start()
                self._is_running = True
            self._changed.notify()
        return True

    def _run(self) -> None:
        while (work := self._next()) is not None:
            thread = Thread(target=work, name="cachedeco-audit")
            with suppress(RuntimeError):  # the interpreter is ending
                thread.start()
                thread.join()

    def _next(self) -> Work | None:
        """Return the next work when it is due; None if nothing is left, and the thread ends."""
        with self._changed:
            while self._waiting:
                seconds = self._waiting[0][0] - monotonic()
                if seconds <= 0:
                    return heappop(self._waiting)[-1]
                self._changed.wait(min(seconds, TIMEOUT_MAX))
            self._is_running = False
        return None


_later = _Later()
_tasks: set[asyncio.Task[Any]] = set()


def begin_anew() -> None:
    """Give a forked child an empty queue: the thread of its parent is not there."""
    global _later  # noqa: PLW0603 -- only here
    _later = _Later()
    _tasks.clear()
