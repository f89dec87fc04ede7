"""The setting REFRESH: in a thread, or in a task of the same loop, while every caller is served the old value."""

import asyncio
import threading
from contextlib import nullcontext
from threading import Semaphore
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.cache import caches
from pytest_django import Settings

from cachedeco import Event, bypass, cached_query, listening
from cachedeco.loading import flights, refreshing
from cachedeco.loading.leases import FAILED, STORED
from cachedeco.runtime import background
from cachedeco.storage.store import Store
from tests.loading.leases.elsewhere import lease_for
from tests.loading.refreshing.conftest import Cached, Truth
from tests.support.clocks import Clock
from tests.support.releases import another_release
from tests.support.sides import SYNC
from tests.support.threads import PATIENCE_SECONDS

local = threading.local()


@pytest.fixture(autouse=True)
def _in_threads(settings: Settings) -> None:
    """Refresh in the background."""
    settings.CACHEDECO = {"REFRESH": "thread"}


@pytest.fixture
def read(clock: Clock, truth: Truth) -> Cached:
    """Give a cached function whose entry is due, and may be served for another minute."""
    read = truth.cached(SYNC, stale_while_revalidate=60, stale_if_error=60)
    read(1)
    clock.now += 60
    truth.value = "new"
    return read


def mark_of(key: str) -> object:
    """Return what stands under a lease's key."""
    return (Store("default").get_many([key]) or {}).get(key)


def test_thread_refreshes_while_the_caller_is_served(read: Cached, truth: Truth, worked: Semaphore) -> None:
    """The caller has the old value at once; the new one is computed in a thread of ours, stored, and marked."""
    threads: list[str] = []
    truth.meanwhile = lambda: threads.append(threading.current_thread().name)
    lease = lease_for(read, 1)

    found = read(1)

    assert worked.acquire(timeout=PATIENCE_SECONDS)
    assert ("old", "new", STORED) == (found, read(1), mark_of(lease.key))
    assert ["cachedeco"] == [name.partition("_")[0] for name in threads]


def test_thread_has_cache_connections_of_its_own_and_closes_them(
    read: Cached, truth: Truth, worked: Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A client of memcached is one thread's: the background never uses the caller's, and leaves none open.

    The defect: some asgiref hand over Django's cache objects with the context, and two threads talked on one socket.
    """
    mine, theirs, closed = caches["default"], [], []
    monkeypatch.setattr(type(mine), "close", lambda self, **_: closed.append(self))
    truth.meanwhile = lambda: theirs.append(caches["default"])

    read(1)

    assert worked.acquire(timeout=PATIENCE_SECONDS)
    assert (1, True, False) == (len(theirs), theirs[0] in closed, mine in closed)
    assert mine is not theirs[0]


def test_cache_objects_that_came_with_the_context_are_left_to_the_caller() -> None:
    """Work in another context begins without the cache objects of the one that it was copied from."""
    mine, theirs = caches["default"], []

    background.copy_context().run(background._with_own_caches, lambda: theirs.append(caches["default"]))

    assert (True, False) == (mine is caches["default"], mine is theirs[0])


def test_call_with_another_key_in_the_thread_is_not_refreshed(clock: Clock, truth: Truth, worked: Semaphore) -> None:
    """What varies on an attribute of the caller's thread would be computed for another tenant: it is not computed."""
    local.tenant = "one"
    read = truth.cached(SYNC, stale_while_revalidate=60, vary=lambda: getattr(local, "tenant", "nobody"))
    read(1)
    clock.now += 60
    lease = lease_for(read, 1)
    seen: list[Event] = []

    with listening(seen.append):
        found = read(1)
        assert worked.acquire(timeout=PATIENCE_SECONDS)
        again = read(1)

    [problem] = [each for each in seen if each.kind == "error"]
    assert ("old", "old", 1, FAILED) == (found, again, truth.read_count, mark_of(lease.key))
    assert 'Say CACHEDECO["REFRESH"] = "caller".' in str(problem.error)


def test_call_that_has_no_key_in_the_thread_is_not_refreshed(clock: Clock, truth: Truth, worked: Semaphore) -> None:
    """Where what the call varies on raises in the thread, an event has the exception."""
    local.tenant = "one"
    read = truth.cached(SYNC, stale_while_revalidate=60, vary=lambda: local.tenant)
    read(1)
    clock.now += 60
    seen: list[Event] = []

    with listening(seen.append):
        found = read(1)
        assert worked.acquire(timeout=PATIENCE_SECONDS)

    assert ("old", 1, [AttributeError]) == (found, truth.read_count, [type(each.error) for each in seen if each.error])


def test_refresh_that_fails_is_an_event_and_throttled(read: Cached, truth: Truth, worked: Semaphore) -> None:
    """The old value is served on, and no caller tries again for five seconds."""
    truth.error = ZeroDivisionError("broken")
    lease = lease_for(read, 1)
    seen: list[Event] = []

    with listening(seen.append):
        found = read(1)
        assert worked.acquire(timeout=PATIENCE_SECONDS)
        again = read(1)

    assert ("old", "old", 2, FAILED) == (found, again, truth.read_count, mark_of(lease.key))
    assert [truth.error] == [each.error for each in seen if each.kind == "error"]


def test_refresh_that_fails_after_an_invalidation_is_an_event(read: Cached, truth: Truth, worked: Semaphore) -> None:
    """Where there is no old value any more, the exception is told and not lost, and the lease is given back."""
    truth.error, truth.meanwhile = ZeroDivisionError("broken"), lambda: read.invalidate(1)
    lease = lease_for(read, 1)
    seen: list[Event] = []

    with listening(seen.append):
        read(1)
        assert worked.acquire(timeout=PATIENCE_SECONDS)

    problems = [(each.reason, each.error) for each in seen if each.kind == "error"]
    assert ([("The refresh failed", truth.error)], None) == (problems, mark_of(lease.key))


def test_full_pool_refuses_and_gives_the_lease_back(
    read: Cached, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no place the caller is served, and the next one may try."""
    lease = lease_for(read, 1)
    with monkeypatch.context() as patch:
        patch.setattr(background, "LONGEST_QUEUE", 0)
        found = read(1)

    assert ("old", 1, None, {}) == (found, truth.read_count, mark_of(lease.key), flights._flights)


def test_outer_computation_is_not_told_of_what_the_thread_depends_on(
    clock: Clock, truth: Truth, worked: Semaphore
) -> None:
    """
    An outer call that was given the old value depends on what that one depended on, and on nothing newer.

    The defect: the thread noted its tokens for the computation that had begun it, before the old ones were noted: an
    old value under a living stamp.
    """
    inner = Truth().cached(SYNC, name="tests.elsewhere.inner", timeout=None)
    truth.meanwhile = lambda: inner(7)
    middle = truth.cached(SYNC, stale_while_revalidate=60, name="tests.elsewhere.middle")
    outer_truth = Truth()
    outer = outer_truth.cached(SYNC, name="tests.elsewhere.outer", timeout=None)

    middle(1)
    clock.now += 60
    truth.value = "new"
    begun, given = refreshing._start_in_background, []

    def begin_and_wait(*args: Any) -> Any:
        inner.invalidate(7)
        yield from begun(*args)
        assert worked.acquire(timeout=PATIENCE_SECONDS)

    outer_truth.meanwhile = lambda: given.append(middle(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refreshing, "_start_in_background", begin_and_wait)
        outer(1)

    outer(1)

    assert (["old", "new"], 2) == (given, outer_truth.read_count)


@pytest.mark.parametrize("past_the_cache", [False, True], ids=["invalidated", "past the cache"])
def test_outer_computation_is_not_told_by_a_thread_that_is_late(
    clock: Clock, truth: Truth, worked: Semaphore, *, past_the_cache: bool
) -> None:
    """
    Nor what the thread depends on, nor that it went past the cache, once the caller goes on beside it.

    The defect: what kept the thread from telling was over as soon as the caller went on.
    """
    inner, go_on = Truth().cached(SYNC, name="tests.elsewhere.inner", timeout=None), Semaphore(0)

    def read_late() -> None:
        assert go_on.acquire(timeout=PATIENCE_SECONDS)
        with bypass() if past_the_cache else nullcontext():
            inner(7)

    inner(7)
    truth.meanwhile = lambda: inner(7)
    middle = truth.cached(SYNC, stale_while_revalidate=60, name="tests.elsewhere.middle")
    middle(1)
    clock.now += 60
    truth.value, truth.meanwhile = "new", read_late
    outer_truth, given, served = Truth(), [], refreshing.serve_each
    outer = outer_truth.cached(SYNC, name="tests.elsewhere.outer", timeout=None)

    def serve_late(policy: Any, calls: Any) -> Any:
        if not past_the_cache:
            inner.invalidate(7)
        go_on.release()
        assert worked.acquire(timeout=PATIENCE_SECONDS)
        return served(policy, calls)

    outer_truth.meanwhile = lambda: given.append(middle(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refreshing, "serve_each", serve_late)
        outer(1)

    outer(1)

    assert (["old"] if past_the_cache else ["old", "new"]) == given


# --- async functions ---


def test_async_function_is_refreshed_by_a_task_of_the_same_loop(clock: Clock) -> None:
    """What an async function awaits may belong to its loop: it is refreshed there, and the caller is not kept."""
    loops: list[asyncio.AbstractEventLoop] = []
    refreshed = asyncio.Event()

    @cached_query(timeout=60, stale_while_revalidate=60, ignore=("loops", "refreshed"))
    async def read() -> int:
        loops.append(asyncio.get_running_loop())
        if len(loops) == 2:
            refreshed.set()
        return len(loops)

    async def calls() -> tuple[int, int, int]:
        first = await read()
        clock.now += 60
        second = await read()
        await refreshed.wait()
        await asyncio.gather(*background._tasks)
        return first, second, await read()

    assert (1, 1, 2) == asyncio.run(calls())
    assert loops[0] is loops[1]


def test_async_full_pool_refuses_and_gives_the_lease_back(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many tasks are under way the caller is served, and the next one may try."""
    monkeypatch.setattr(background, "LONGEST_QUEUE", 0)

    @cached_query(timeout=60, stale_while_revalidate=60)
    async def read() -> int:
        return 1

    asyncio.run(read())
    clock.now += 60
    lease = lease_for(read)

    found = asyncio.run(read())

    assert (1, None, {}) == (found, mark_of(lease.key), flights._flights)


@pytest.mark.django_db(transaction=True)
def test_loop_of_one_call_leaves_the_refresh_to_a_thread(clock: Clock, truth: Truth, worked: Semaphore) -> None:
    """
    Under `async_to_sync()`, as in a view under WSGI, a loop of a thread of ours refreshes: the caller's loop ends.

    The defect: each stale value was an error event, as the task was cancelled, and was never refreshed.
    """
    threads: list[str] = []
    seen: list[Event] = []

    @async_to_sync
    @cached_query(timeout=60, stale_while_revalidate=60, ignore=("truth", "threads"))
    async def read() -> object:
        await sync_to_async(lambda: threads.append(threading.current_thread().name))()
        await User.objects.acount()
        return truth.read()

    read()
    clock.now += 60
    truth.value = "new"

    with listening(seen.append):
        found = read()
        assert worked.acquire(timeout=PATIENCE_SECONDS)

    assert ("old", "new", []) == (found, read(), [each for each in seen if each.kind == "error"])
    assert [threading.current_thread().name.partition("_")[0], "cachedeco"] == [
        name.partition("_")[0] for name in threads
    ]


def test_refresh_that_is_cancelled_is_no_event(clock: Clock) -> None:
    """A loop that ends while the function computes anew has not failed."""
    began = asyncio.Event()
    stored: list[int] = []
    seen: list[Event] = []

    @cached_query(timeout=60, stale_while_revalidate=60, ignore=("began", "stored"))
    async def read() -> int:
        if stored:
            began.set()
            await asyncio.Event().wait()
        return 1

    async def again() -> int:
        found = await read()
        await began.wait()
        return found

    stored.append(asyncio.run(read()))
    clock.now += 60
    with listening(seen.append):
        found = asyncio.run(again())

    assert ([1], 1, []) == (stored, found, [each for each in seen if each.kind == "error"])


@pytest.mark.parametrize("when", ["before its task begins", "before its first step", "in its first step"])
def test_async_refresh_that_its_loop_ends_leaves_nothing(
    clock: Clock, truth: Truth, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """
    A loop that ends with its caller takes the refresh along, and others refresh then.

    The defect: the flight of a refresh that never ran, as its task was cancelled before the first step, never landed,
    and all later callers, once the old value was too old, waited for it for ever: `wait` seconds each.
    """

    @cached_query(timeout=60, stale_while_revalidate=60, ignore=("truth",))
    async def read() -> object:
        return truth.read()

    asyncio.run(read())
    clock.now += 60
    truth.value = "new"
    lease = lease_for(read)
    room, is_free = background._thread_of_tasks(), threading.Event()
    if when == "before its task begins":
        begin = background.create_task
        monkeypatch.setattr(
            background, "create_task", lambda work, tasks: (begin(work, tasks), *map(asyncio.Task.cancel, tasks))
        )
    elif when == "before its first step":
        room._thread.submit(is_free.wait)
    else:
        monkeypatch.setattr(refreshing, "find_key_mismatch", lambda *_: is_free.wait())

    found = asyncio.run(read())

    is_free.set()
    room._thread.submit(lambda: None).result(PATIENCE_SECONDS)  # what that thread has begun has ended
    assert ("old", None, {}) == (found, mark_of(lease.key), flights._flights)
    clock.now += 60
    assert "new" == asyncio.run(read())


def test_entry_beside_that_of_another_release_is_refreshed(clock: Clock, truth: Truth, worked: Semaphore) -> None:
    """The keys of the call are compared in the thread, and not that of the entry, which lies beside another one."""
    truth.value = [User(username="old")]
    read = truth.cached(SYNC, stale_while_revalidate=600)
    read(1)
    clock.now += 30
    with another_release():
        read(1)
        clock.now += 60
        truth.value = [User(username="new")]

        found = read(1)

        assert worked.acquire(timeout=PATIENCE_SECONDS)
        assert ("old", "new") == (found[0].username, read(1)[0].username)
