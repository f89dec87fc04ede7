"""
Background executor: threads with a bounded queue for sync code, and tasks in the caller's own loop for async code.

Work is rejected while the queue is full, because a late refresh is worthless.
"""

import asyncio
from _thread import start_new_thread
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from datetime import tzinfo
from functools import partial
from threading import local
from typing import Any, Final, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, async_to_sync
from django.core.cache import BaseCache, caches
from django.db import connections
from django.utils import timezone
from django.utils.translation import get_language, override

from cachedeco.runtime.uninterrupted import uninterrupted

T = TypeVar("T")

THREADS: Final = 2
# Of work in threads, and of tasks: queued and running together.
LONGEST_QUEUE: Final = 64

Job = Callable[[], object]
AsyncJob = Callable[[], Coroutine[Any, Any, object]]

# Called in a thread of ours when its work has ended, beside closing what Django has opened there.
at_end: Final[list[Callable[[], object]]] = []

_pool: ThreadPoolExecutor | None = None
_futures: set[Future[object]] = set()
_tasks: set[asyncio.Task[Any]] = set()


def submit(work: Job) -> bool:
    """
    Run some work in a thread of the pool, as `detach()` says; return False if the queue is full.

    Threads are started when they are needed, and the interpreter waits for them at its end.
    """
    try:
        return uninterrupted(partial(_submit, detach(work)))
    except RuntimeError:  # the interpreter is ending
        return False


def _submit(work: Job) -> bool:
    if _submission.is_under_way or not _has_room(_futures, Future.done):
        return False
    _submission.is_under_way = True
    try:
        future = _threads().submit(work)
        _futures.add(future)
        future.add_done_callback(_futures.discard)
    finally:
        _submission.is_under_way = False
    return True


class _Submission(local):
    """
    Whether this thread is submitting work.

    A finalizer that needs the cache just then would wait for a lock that its own thread holds.
    """

    is_under_way = False


_submission = _Submission()


def _has_room(work: set[T], has_ended: Callable[[T], bool]) -> bool:
    """Tell whether there is a place beside this work, in which what has ended may still be."""
    if len(work) >= LONGEST_QUEUE:
        _drop(work, has_ended)
    return len(work) < LONGEST_QUEUE


def _drop(work: set[T], has_ended: Callable[[T], bool]) -> None:
    """Remove what has ended. Other threads add to the set meanwhile."""
    work.difference_update([each for each in work.copy() if has_ended(each)])


def detach(work: Job) -> Job:
    """
    Return some work with the context, the language and the time zone of this call, to be called in another thread.

    It has cache objects and database connections of its own, which are closed at its end. What it raises is lost.
    """
    localized = partial(_in_language_and_zone, get_language(), timezone.get_current_timezone(), work)
    return partial(_run_detached, copy_context(), localized)


def _run_detached(context: Context, work: Job) -> None:
    with suppress(Exception):  # the steps have reported it
        try:
            context.run(_with_own_caches, work)
        finally:
            _close_all()


def _close_all() -> None:
    """Close what this thread has opened."""
    connections.close_all()
    for close in at_end:
        close()


def _in_language_and_zone(language: str, zone: tzinfo, work: Job) -> None:
    """Work in a language and a time zone: with some releases of asgiref neither comes with the context."""
    with override(language), timezone.override(zone):
        work()


def _threads() -> ThreadPoolExecutor:
    # Two threads that come here first at once make two pools, and one of them has less to do: no lock for that.
    global _pool  # noqa: PLW0603 -- begun when it is needed
    if _pool is None:
        _pool = ThreadPoolExecutor(THREADS, thread_name_prefix="cachedeco")
    return _pool


def _with_own_caches(work: Callable[[], object]) -> None:
    """Work with cache objects of our own."""
    _detach_from_caches()
    try:
        work()
    finally:
        caches.close_all()


def _detach_from_caches() -> list[str]:
    """
    Detach from the caller's cache objects, which the copied context contains: most clients belong to one thread.

    Returns:
        Their aliases.
    """
    left = []
    for alias in caches:
        with suppress(AttributeError):
            del caches[alias]
            left.append(alias)
    return left


# --- in a loop ---


class _TaskThread:
    """
    The thread for the `sync_to_async` steps of background tasks, of all event loops, with connections of its own.

    In the caller's thread, the default of `sync_to_async`, these steps would delay the caller. After the caller has
    ended, each task would get a thread that never ends, with connections that are never closed.
    """

    def __init__(self) -> None:
        """Begin without the thread."""
        self._context = ThreadSensitiveContext()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cachedeco-tasks")
        SyncToAsync.context_to_thread_executor[self._context] = self._thread
        self._running: set[object] = set()

    @contextmanager
    def enter(self) -> Generator[None]:
        """Make this the thread of the running task; after the last task, close the connections."""
        SyncToAsync.thread_sensitive_context.set(self._context)  # in the task's own context, which ends with it
        # Of a caller under `async_to_sync`: its thread, which asgiref would prefer, takes nothing any more after that.
        AsyncToSync.executors.current = None
        # Made here, or each step would make its own in a context that ends with it.
        own = [caches[alias] for alias in _detach_from_caches()]
        task = object()
        close: Callable[[], object] = partial(self._close_soon, own)
        self._running.add(task)
        try:
            yield
        except GeneratorExit:
            # The loop was closed, and this is a finalizer, which may run in the middle of `submit()` itself: here it
            # would wait for a lock that its own thread holds.
            close = partial(start_new_thread, self._close_soon, (own,))
            raise
        finally:
            self._running.discard(task)
            with suppress(RuntimeError):  # the interpreter is ending
                close()

    def _close_soon(self, own: Iterable[BaseCache]) -> None:
        """Close in the thread, and do not wait for it: the loop may have ended."""
        with suppress(RuntimeError):  # the interpreter is ending
            self._thread.submit(self._close_after, own)

    def _close_after(self, own: Iterable[BaseCache]) -> None:
        """Close the cache objects of a task; after the last task, all that the thread has opened."""
        for cache in own:
            cache.close()
        if not self._running:  # a task that begins now is served after this
            _close_all()


_task_thread: _TaskThread | None = None


def _thread_of_tasks() -> _TaskThread:
    # As with the threads: two loops that come here first at once make two.
    global _task_thread  # noqa: PLW0603 -- begun when it is needed: what it asks of asgiref is private there
    if _task_thread is None:
        _task_thread = _TaskThread()
    return _task_thread


def start(work: AsyncJob) -> bool:
    """
    Run a coroutine in a task of the running loop, as what it awaits may belong to it; return whether there was room.

    What it does by `sync_to_async` is done in a thread of ours. A loop that ends with its call can't run it to its end:
    a thread does, in a loop of its own.
    """
    if loop_ends_with_call():
        return submit(in_loop_of_its_own(work))
    if not _has_room(_tasks, _is_of_closed_loop):
        return False
    create_task(work, _tasks)
    return True


def loop_ends_with_call() -> bool:
    """Tell whether the running loop is that of one call of `async_to_sync()`, as of a view under WSGI."""
    return asyncio.get_running_loop() in AsyncToSync.loop_thread_executors


def in_loop_of_its_own(work: AsyncJob) -> Job:
    """Return a coroutine as work for a thread."""

    async def run() -> None:
        await work()

    def run_in_thread() -> None:
        # Raises while the interpreter is ending: asgiref could begin no loop either, and would warn of its coroutines.
        _threads().submit(int)
        async_to_sync(run)()

    return run_in_thread


def create_task(work: AsyncJob, tasks: set[asyncio.Task[Any]]) -> None:
    """Run a coroutine as `start()` does, for any number of tasks; the set keeps the task until it ends."""
    task = asyncio.get_running_loop().create_task(_run_task(work))
    tasks.add(task)  # a loop keeps only weak references to its tasks
    task.add_done_callback(partial(_forget_task, tasks))


def drop_closed(tasks: set[asyncio.Task[Any]]) -> None:
    """Remove tasks that never end, because their loop was closed and did not cancel them."""
    _drop(tasks, _is_of_closed_loop)


def _is_of_closed_loop(task: asyncio.Task[Any]) -> bool:
    return task.get_loop().is_closed()


async def _run_task(work: AsyncJob) -> None:
    with _thread_of_tasks().enter():
        await work()


def _forget_task(tasks: set[asyncio.Task[Any]], task: asyncio.Task[Any]) -> None:
    tasks.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, or asyncio reports it: the steps have done so


def begin_anew() -> None:
    """Forget the threads in a forked child, which does not have its parent's, and begin with an empty queue."""
    global _pool, _task_thread
    _pool, _task_thread = None, None
    _futures.clear()
    # asgiref's thread for sync code is one of the parent, too: a call that needs it would wait for ever.
    SyncToAsync.single_thread_executor = ThreadPoolExecutor(max_workers=1)
