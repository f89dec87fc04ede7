"""
Work that nobody waits for: a few threads with a short queue, and tasks in the caller's own loop.

What finds no place is refused: to refresh an entry is worth doing soon, and not worth a queue. What is to be done
later takes none of these places before its time has come.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from datetime import tzinfo
from functools import partial
from heapq import heappop, heappush
from itertools import count
from threading import TIMEOUT_MAX, BoundedSemaphore, Condition, Thread
from time import monotonic
from typing import Any, Final

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core.cache import BaseCache, caches
from django.db import connections
from django.utils import timezone
from django.utils.translation import get_language, override

THREADS: Final = 2
# Of each kind, those under way included.
LONGEST_QUEUE: Final = 64
# Of each kind, what is to be done later: each may hold an entry.
MOST_LATER: Final = 1000

Work = Callable[[], object]

_places = BoundedSemaphore(LONGEST_QUEUE)
# Of what was to be done later, so much is handed to the threads at once: what comes now need not wait for all that is
# due, nor the end of the interpreter.
_turns = BoundedSemaphore(THREADS)
_pool: ThreadPoolExecutor | None = None
_tasks: set[asyncio.Task[Any]] = set()
_sleepers: set[asyncio.Task[Any]] = set()


def submit(work: Work, after: float = 0.0) -> bool:
    """
    Do some work in a thread of ours, with the context of the caller and database connections of its own.

    The language and the time zone are those of the caller, too.

    What it raises is lost. Threads are begun as they are needed, and at its end the interpreter waits for them, but
    not for what was to be done later.

    Args:
        work: The work.

        after: Seconds from now before it is begun.

    Returns:
        Whether there was a place for it.
    """
    work = partial(_in_words_of, get_language(), timezone.get_current_timezone(), work)
    if after:
        # In its time it needs no place: those who come now would take each one before it.
        return _later.add(after, partial(_begun_in_turn, copy_context(), work))
    places = _places
    if not places.acquire(blocking=False):
        return False
    if not _begun(copy_context(), work, places):
        places.release()
        return False
    return True


def _begun(context: Context, work: Work, places: BoundedSemaphore) -> bool:
    """Hand some work to the threads; tell whether they took it."""
    try:
        _threads().submit(_worked, places, context, work)
    except RuntimeError:  # the interpreter is ending
        return False
    return True


def _begun_in_turn(context: Context, work: Work) -> None:
    """Wait for a turn, and hand some work to the threads, if they still take any."""
    turns = _turns
    turns.acquire()
    if not _begun(context, work, turns):
        turns.release()


def _in_words_of(language: str, zone: tzinfo, work: Work) -> None:
    """Work in a language and a time zone: with some asgiref neither comes along with the context."""
    with override(language), timezone.override(zone):
        work()


class _Later:
    """What is to be done later, and one thread that waits until it is time."""

    def __init__(self) -> None:
        """Begin with nothing, and without the thread."""
        self._changed = Condition()
        self._waiting: list[tuple[float, int, Work]] = []  # a heap: the first is the next
        self._number = count()  # tells apart what is due at once
        self._is_running = False

    def add(self, after: float, work: Work) -> bool:
        """Do some work after so many seconds; tell whether there was a place for it."""
        with self._changed:
            if len(self._waiting) >= MOST_LATER:
                return False
            heappush(self._waiting, (monotonic() + after, next(self._number), work))
            if not self._is_running:
                # A daemon: the end of the interpreter is not to wait a minute for what was to be done then.
                Thread(target=self._run, name="cachedeco-later", daemon=True).start()
                self._is_running = True
            self._changed.notify()
        return True

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Work | None:
        """Return the next work when it is time; None where nothing is left, and the thread ends."""
        with self._changed:
            while self._waiting:
                seconds = self._waiting[0][0] - monotonic()
                if seconds <= 0:
                    return heappop(self._waiting)[-1]
                self._changed.wait(min(seconds, TIMEOUT_MAX))
            self._is_running = False
        return None


_later = _Later()


def _threads() -> ThreadPoolExecutor:
    # Two threads that come here first at once make two pools, and one of them has less to do: no lock for that.
    global _pool  # noqa: PLW0603 -- begun when it is needed
    if _pool is None:
        _pool = ThreadPoolExecutor(THREADS, thread_name_prefix="cachedeco")
    return _pool


def _worked(places: BoundedSemaphore, context: Context, work: Callable[[], object]) -> None:
    with suppress(Exception):  # the steps have told of it
        try:
            context.run(_alone, work)
        finally:
            places.release()
            connections.close_all()


def _alone(work: Callable[[], object]) -> None:
    """Work with cache objects of our own."""
    _leave_caches()
    try:
        work()
    finally:
        caches.close_all()


def _leave_caches() -> list[str]:
    """
    Leave the caller his cache objects, which come along with his context: most clients are of one thread.

    Returns:
        The aliases of those.
    """
    left = []
    for alias in caches:
        with suppress(AttributeError):
            del caches[alias]
            left.append(alias)
    return left


# --- in a loop ---


class _Room:
    """
    The thread in which tasks of ours do what needs one, whatever their loop, with connections of its own.

    In the caller's, which `sync_to_async` would take, they would keep him waiting; and where he has ended, each would
    be given one that nobody ends, with connections that nobody closes.
    """

    def __init__(self) -> None:
        """Begin without the thread."""
        self._context = ThreadSensitiveContext()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cachedeco-tasks")
        SyncToAsync.context_to_thread_executor[self._context] = self._thread
        self._inside: set[object] = set()

    @contextmanager
    def entered(self) -> Generator[None]:
        """Be the thread of the running task; when all have left, close the connections."""
        SyncToAsync.thread_sensitive_context.set(self._context)  # in the task's own context, which ends with it
        # Made here, or each step would make its own in a context that ends with it.
        mine = [caches[alias] for alias in _leave_caches()]
        me = object()
        self._inside.add(me)
        try:
            yield
        finally:
            self._inside.discard(me)
            # Not awaited: a loop may have ended, and we be in the middle of anybody's work.
            with suppress(RuntimeError):  # the interpreter is ending
                self._thread.submit(self._left, mine)

    def _left(self, mine: Iterable[BaseCache]) -> None:
        for cache in mine:
            cache.close()
        if not self._inside:  # who enters now is served after this
            connections.close_all()


_room: _Room | None = None


def _tasks_room() -> _Room:
    # As with the threads: two loops that come here first at once make two.
    global _room  # noqa: PLW0603 -- begun when it is needed: what it asks of asgiref is private there
    if _room is None:
        _room = _Room()
    return _room


def start(work: Coroutine[Any, Any, object], after: float = 0.0) -> bool:
    """
    Go on with a coroutine in a task of the running loop, as what it awaits may belong to that loop.

    What it does by `sync_to_async` is done in a thread of ours; under `async_to_sync`, in that of its caller.

    Args:
        work: The coroutine.

        after: Seconds from now before it is begun. Where the loop ends before, it never is.

    Returns:
        Whether there was a place for it.
    """
    crowd, most = (_sleepers, MOST_LATER) if after else (_tasks, LONGEST_QUEUE)
    if len(crowd) >= most:  # of whom some may be waiting in vain: who closed their loop has not cancelled them
        crowd.difference_update([task for task in crowd if task.get_loop().is_closed()])
    if len(crowd) >= most:
        work.close()
        return False
    task = asyncio.get_running_loop().create_task(_after(after, work))
    crowd.add(task)  # a loop keeps only weak references to its tasks
    task.add_done_callback(partial(_ended, crowd, work))
    return True


async def _after(seconds: float, work: Coroutine[Any, Any, object]) -> None:
    if seconds:
        await asyncio.sleep(seconds)
    with _tasks_room().entered():
        await work


def _ended(crowd: set[asyncio.Task[Any]], work: Coroutine[Any, Any, object], task: asyncio.Task[Any]) -> None:
    crowd.discard(task)
    work.close()  # cancelled before it began, it would be missed by Python
    if not task.cancelled():
        task.exception()  # looked at: the steps have told of it, and asyncio need not


def begin_anew() -> None:
    """Give a forked child threads and places of its own: those of its parent are not there."""
    global _places, _turns, _pool, _later, _room
    _places, _turns = BoundedSemaphore(LONGEST_QUEUE), BoundedSemaphore(THREADS)
    _pool, _later, _room = None, _Later(), None
