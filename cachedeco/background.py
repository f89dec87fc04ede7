"""
Work that nobody waits for: a few threads with a short queue, and tasks in the caller's own loop.

What finds no place is refused: to refresh an entry is worth doing soon, and not worth a queue.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from threading import BoundedSemaphore
from typing import Any, Final

from django.core.cache import caches
from django.db import connections

from cachedeco.forks import in_each_child

THREADS: Final = 2
# Of each kind, those under way included.
LONGEST_QUEUE: Final = 64

_places = BoundedSemaphore(LONGEST_QUEUE)
_pool: ThreadPoolExecutor | None = None
_tasks: set[asyncio.Task[Any]] = set()


def submit(work: Callable[[], object]) -> bool:
    """
    Do some work in a thread of ours, with the context of the caller and database connections of its own.

    What it raises is lost. Threads are begun as they are needed, and at its end the interpreter waits for them.

    Returns:
        Whether there was a place for it.
    """
    if not _places.acquire(blocking=False):
        return False
    try:
        _threads().submit(_worked, _places, copy_context(), work)
    except RuntimeError:  # the interpreter is ending
        _places.release()
        return False
    return True


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
    """Work with cache objects of our own: some asgiref hand over the caller's, and most clients are of one thread."""
    for alias in caches:
        with suppress(AttributeError):
            del caches[alias]
    try:
        work()
    finally:
        caches.close_all()


def start(work: Coroutine[Any, Any, object]) -> bool:
    """
    Go on with a coroutine in a task of the running loop, as what it awaits may belong to that loop.

    Returns:
        Whether there was a place for it.
    """
    if len(_tasks) >= LONGEST_QUEUE:
        work.close()
        return False
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)  # a loop keeps only weak references to its tasks
    task.add_done_callback(_ended)
    return True


def _ended(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled():
        task.exception()  # looked at: the steps have told of it, and asyncio need not


@in_each_child
def _begin_anew() -> None:
    """Give a forked child threads and places of its own: those of its parent are not there."""
    global _places, _pool
    _places, _pool = BoundedSemaphore(LONGEST_QUEUE), None
    _tasks.clear()
