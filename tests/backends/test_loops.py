"""Connections of event loops: pipelined, with answers in the order of the commands, and closed with their loop."""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from types import FrameType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import BaseCache
from pymemcache.exceptions import MemcacheClientError

from cachedeco.backends import loops
from cachedeco.backends.loop_connection import LoopConnection
from cachedeco.backends.server import UnreachableError
from tests.backends.caches import cache_at, cache_on
from tests.backends.on_loops import connections_of, names, opened, raw_of, read_once, server_of
from tests.backends.redis_caches import client_of, redis_at, redis_on
from tests.backends.scripted import Scripted
from tests.support.interrupts import Attempt, Expired, handled
from tests.support.selection import of_length
from tests.support.servers import Memcached, Redis
from tests.support.threads import PATIENCE_SECONDS

Make = Callable[..., BaseCache]
# That are passed on the way of a few reads.
FEWEST_POINTS = 30


@pytest.fixture(params=["memcached_server", "redis_server"])
def make(request: pytest.FixtureRequest) -> Make:
    """Give what makes a cache on a server that the tests share."""
    server = request.getfixturevalue(request.param)
    return cache_maker(server)


@pytest.fixture(params=["private_memcached", "private_redis"])
def private(request: pytest.FixtureRequest) -> Memcached | Redis:
    """Give a server of this test's own."""
    server: Memcached | Redis = request.getfixturevalue(request.param)
    return server


def cache_maker(server: Memcached | Redis) -> Make:
    """Return what makes a cache on a server."""
    return lambda **options: (
        cache_on(server, **options) if isinstance(server, Memcached) else redis_on(server, **options)
    )


def sockets() -> int:
    """Return how many sockets this process has open."""
    gc.collect()
    return sum(issubclass(type(each), socket.socket) and each.fileno() >= 0 for each in gc.get_objects())


# --- answers ---


def test_async_methods_do_what_the_sync_ones_do(make: Make) -> None:
    """Missing keys, empty values, values that look like a reply."""
    raw, keys = raw_of(make()), names(4)
    items = [(keys[0], b"END\r\nVALUE", None), (keys[1], b"", 60), (keys[3], b"x" * 300_000, None)]

    async def work() -> list[Any]:
        return [await raw.aset_each(items), await raw.aread(keys)]

    stored, found = asyncio.run(work())

    assert raw.natively_async
    assert ([True] * 3, None) == (stored, stored.error)
    assert [b"END\r\nVALUE", b"", None, b"x" * 300_000] == found
    assert found == raw.read(keys)


def test_answers_keep_their_order_when_tasks_are_cancelled(make: Make) -> None:
    """An answer to a cancelled task is read and dropped, also when a part of it has come: the next is no other's."""
    raw, [large, small] = raw_of(make()), names(2)
    expected = {large: b"x" * 20_000, small: b"abc"}
    raw.set_each([(key, value, None) for key, value in expected.items()])

    async def read_many() -> tuple[int, int]:
        keys = [large if number % 2 else small for number in range(3000)]
        tasks = [asyncio.ensure_future(raw.aread([key])) for key in keys]
        for number, task in enumerate(tasks):
            if number % 5 == 0:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        right = [result == [expected[key]] for key, result in zip(keys, results, strict=True)]
        return sum(task.cancelled() for task in tasks), right.count(True)

    cancelled, right = asyncio.run(read_many())

    assert cancelled
    assert 3000 == cancelled + right


def test_commands_of_many_tasks_are_sent_together(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent in one turn of the loop is written at once."""
    raw, [key] = raw_of(make()), names(1)
    writes = 0
    flush = LoopConnection._flush

    def counted(connection: LoopConnection) -> None:
        nonlocal writes
        writes += bool(connection._outgoing)
        flush(connection)

    monkeypatch.setattr(LoopConnection, "_flush", counted)

    async def read_many() -> None:
        await raw.aread([key])
        await asyncio.gather(*[raw.aread([key]) for _ in range(100)])

    asyncio.run(read_many())

    assert writes <= 3


def test_a_loop_has_two_connections_and_takes_the_one_with_fewer_commands(make: Make) -> None:
    """The second is opened while the first is in use."""
    cache, [key] = make(), names(1)
    raw = raw_of(cache)

    async def work() -> tuple[int, int, list[int]]:
        await raw.aread([key])
        alone = len(connections_of(cache))
        await asyncio.gather(*[raw.aread([key]) for _ in range(10)])
        await opened(cache)
        tasks = [asyncio.ensure_future(raw.aread([key])) for _ in range(10)]
        await asyncio.sleep(0)
        waiting = [len(each.waiting) for each in connections_of(cache)]
        await asyncio.gather(*tasks)
        return alone, len(connections_of(cache)), waiting

    assert (1, 2, [5, 5]) == asyncio.run(work())


# --- the end of a loop ---


def abandoned(cache: BaseCache, key: str) -> None:
    """Close a loop without what asyncio.run() does before."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(read_once(cache, key))
    loop.close()


@pytest.mark.parametrize(
    "run",
    [
        lambda cache, key: asyncio.run(read_once(cache, key)),
        async_to_sync(read_once),
    ],
    ids=["asyncio.run", "async_to_sync"],
)
def test_loop_that_ends_leaves_nothing(make: Make, run: Callable[[BaseCache, str], None]) -> None:
    """No socket, and nothing that refers to it; also with a command under way."""
    cache, [key] = make(), names(1)
    before = sockets()

    for _ in range(5):
        run(cache, key)

    assert (before, {}) == (sockets(), server_of(cache).pool.loops._by_loop)  # type: ignore[union-attr]


def test_loop_sees_no_task_of_ours(make: Make) -> None:
    """Code that waits for all tasks of a loop does not wait for ever."""
    cache, [key] = make(), names(1)

    async def work() -> set[str]:
        await read_once(cache, key)
        return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert set() == asyncio.run(work())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_loop_that_is_thrown_away_takes_its_connections_along(make: Make) -> None:
    """What is kept refers to it only weakly."""
    cache, [key] = make(), names(1)
    before = sockets()

    abandoned(cache, key)

    assert (before, {}) == (sockets(), server_of(cache).pool.loops._by_loop)  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_loop_that_is_closed_while_a_connection_opens_says_nothing_of_it(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """But for what asyncio says of each task that was left. Garbage that raises would be a warning of pytest's."""
    cache, [key] = make(), names(1)
    loop = asyncio.new_event_loop()

    task = loop.create_task(read_once(cache, key))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del loop, task
    gc.collect()

    assert {"Task was destroyed but it is pending!"} == {
        record.getMessage().splitlines()[0] for record in caplog.records
    }


def test_context_of_a_caller_is_not_kept(make: Make) -> None:
    """A connection lives for longer than the request whose task has opened it."""
    import contextvars
    import weakref

    class Request:
        pass

    cache, [key] = make(), names(1)
    variable: contextvars.ContextVar[Request] = contextvars.ContextVar("request")

    async def request() -> weakref.ref[Request]:
        variable.set(Request())
        await read_once(cache, key)
        return weakref.ref(variable.get())

    async def work() -> Request | None:
        seen = await asyncio.create_task(request())
        await asyncio.sleep(0)
        gc.collect()
        return seen()

    assert None is asyncio.run(work())


def test_forked_child_uses_no_connection_of_its_parent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor closes it: also where it goes on with the parent's loop."""
    cache, [key] = make(), names(1)

    async def work() -> list[bool]:
        await read_once(cache, key)
        [of_parent] = connections_of(cache)
        monkeypatch.setattr(loops, "_process", object())  # as a fork does
        forget_servers_of_fork = server_of(cache).forget
        forget_servers_of_fork()
        await read_once(cache, key)
        result = [of_parent in connections_of(cache), of_parent.is_closed]
        of_parent.close()
        return result

    assert [False, False] == asyncio.run(work())


# --- failures ---


@pytest.mark.parametrize("way", ["kill", "pause"])
def test_all_who_wait_on_a_connection_fail_together(private: Memcached | Redis, way: str) -> None:
    """Reads have found nothing, and writes raise; the sync half does not ask in the pause that follows."""
    cache, [key] = cache_maker(private)(), names(1)
    raw = raw_of(cache)
    raw.set_each([(key, b"value", None)])

    async def work() -> list[Any]:
        await raw.aread([key])
        getattr(private, way)()
        return await asyncio.gather(
            *[raw.aread([key]) for _ in range(50)], *[cache.adelete(key) for _ in range(50)], return_exceptions=True
        )

    results = asyncio.run(work())
    opened = server_of(cache)._outage

    assert [[None]] * 50 == results[:50]
    assert {True} == {isinstance(error, UnreachableError) for error in results[50:]}
    assert {way == "pause"} == {isinstance(error, TimeoutError) for error in results[50:]}
    assert opened is not None
    assert [None] == raw.read([key])
    private.restart() if way == "kill" else private.resume()


def test_loop_that_ends_with_an_outage_leaves_no_task(private_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Its connection was answered, and is closed when nothing runs any more but what ends the loop."""
    cache = redis_on(private_redis)
    with client_of(private_redis) as client:
        client.config_set("requirepass", "secret")

    found = asyncio.run(read_once(cache, "key"))
    gc.collect()

    assert [None] == found
    assert [] == [record.getMessage() for record in caplog.records if record.name == "asyncio"]


def factory_of_old(loop: asyncio.AbstractEventLoop, coroutine: Any) -> asyncio.Task[Any]:
    """Make a task as code does that was written before tasks took a context."""
    return asyncio.Task(coroutine, loop=loop)


TASK_FACTORIES: list[Any] = [factory_of_old]
if sys.version_info >= (3, 12):
    TASK_FACTORIES.append(asyncio.eager_task_factory)


@pytest.mark.parametrize("factory", TASK_FACTORIES)
@pytest.mark.parametrize(
    "cache", [cache_at("unix:/no/socket"), redis_at("unix:///no/socket")], ids=["memcached", "redis"]
)
def test_server_that_is_not_there_is_told_with_any_task_factory(cache: BaseCache, factory: Any) -> None:
    """Also with one that begins a task at once, so that the connection has failed before a command waits for it."""

    async def work() -> object:
        asyncio.get_running_loop().set_task_factory(factory)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await read_once(cache, "key")

    assert [None] == asyncio.run(work())


@pytest.mark.parametrize("turns", range(1, 7))
def test_loop_that_is_blocked_while_it_connects_has_not_waited(make: Make, turns: int) -> None:
    """A blocked loop looks at no socket: the time counts as a part of the timeout, and the write is not lost."""
    cache, [key] = make(), names(1)

    async def work() -> object:
        loop, blocked = asyncio.get_running_loop(), 0
        now = loop.time
        loop.time = lambda: now() + blocked  # type: ignore[method-assign]
        writing = asyncio.ensure_future(cache.aset(key, "value"))
        for _ in range(turns):
            await asyncio.sleep(0)
        blocked = 1000
        await writing
        return await cache.aget(key)

    assert "value" == asyncio.run(work())


def test_outage_that_sync_code_has_seen_is_one_of_async_code(private: Memcached | Redis) -> None:
    """And ends for both with the first answer to either."""
    cache, [key] = cache_maker(private)(), names(1)
    raw = raw_of(cache)
    private.kill()
    raw.read([key])
    outage = server_of(cache)._outage

    found = asyncio.run(raw.aread([key]))
    private.restart()
    stored = asyncio.run(raw.aset_each([(key, b"value", None)]))

    assert outage is not None
    assert ([None], [True]) == (found, stored)
    assert [b"value"] == raw.read([key])
    assert None is server_of(cache)._outage


def test_restarted_server_is_asked_again(private: Memcached | Redis) -> None:
    """A read on a connection that is gone is sent once more; a write looks at its connection before."""
    cache, [key] = cache_maker(private)(), names(1)
    raw = raw_of(cache)

    async def work() -> list[Any]:
        await raw.aread([key])
        private.restart()
        first = await asyncio.gather(*[raw.aread([key]) for _ in range(5)])
        private.restart()
        return [*first, await raw.aset_each([(key, b"value", None)])]

    assert [*[[None]] * 5, [True]] == asyncio.run(work())
    assert None is server_of(cache)._outage


def test_connection_is_not_used_after_an_outage_that_another_thread_has_seen(make: Make) -> None:
    """Also where the loop was not told yet: if the host is gone, it looks open and is dead."""
    cache, [key] = make(), names(1)
    pool_loops = server_of(cache).pool.loops
    assert pool_loops is not None

    async def work() -> list[bool]:
        await read_once(cache, key)
        [first] = connections_of(cache)
        pool_loops.clear()
        await read_once(cache, key)
        return [first.is_closed, *(each is first for each in connections_of(cache))]

    assert [True, False] == asyncio.run(work())


def test_each_server_is_asked_for_its_own_keys(memcached_server: Memcached, private_memcached: Memcached) -> None:
    """One that is out of reach has nothing, and keeps nothing from the others."""
    cache, keys = cache_on(memcached_server, private_memcached), names(40)
    raw = raw_of(cache)
    items = [(key, key.encode(), 60) for key in keys]

    stored = asyncio.run(raw.aset_each(items))
    found = asyncio.run(raw.aread(keys))
    private_memcached.kill()
    left = asyncio.run(raw.aread(keys))
    again = asyncio.run(raw.aset_each(items))

    assert ([True] * 40, [key.encode() for key in keys]) == (stored, found)
    assert [value is not None for value in left] == again
    assert {True, False} == set(again)
    assert isinstance(again.error, ConnectionError)


@pytest.mark.parametrize(("options", "expected"), [({}, MemcacheClientError), ({"ignore_exc": True}, "default")])
def test_command_that_memcached_does_not_take(options: dict[str, bool], expected: object) -> None:
    """It is the caller's fault, and raises where errors are not ignored."""
    with Scripted([b"CLIENT_ERROR bad\r\n"]) as server:
        cache = cache_on(server, **options)
        try:
            found: object = asyncio.run(cache.aget("key", "default"))
        except MemcacheClientError as error:
            found = type(error)

    assert expected == found
    assert None is server_of(cache)._outage


@pytest.mark.parametrize("delta", [1.5, Decimal(2), -0.5, 2**64, -(2**64), 10**30])
def test_number_that_memcached_does_not_count_by_is_refused_as_in_sync_code(
    private_memcached: Memcached, delta: Any
) -> None:
    """Nothing is counted, and the commands of other tasks go on."""
    cache, [key] = cache_on(private_memcached), names(1)
    cache.set(key, 7)
    with pytest.raises(MemcacheClientError) as refused:
        cache.incr(key, delta)

    async def work() -> list[Any]:
        await cache.aget(key)
        [connection] = connections_of(cache)
        counted, added = await asyncio.gather(
            cache.aincr(key, delta), cache.aadd(names(1)[0], 1), return_exceptions=True
        )
        return [type(counted), added, await cache.aget(key), connection.is_closed]

    assert [refused.type, True, 7, False] == asyncio.run(work())


# --- interrupts and cancellations ---


class AttemptOnLoop(Attempt):
    """One that leaves out what asyncio does in the middle of a task's step, which has no end then."""

    @staticmethod
    def is_point(frame: FrameType, event: str, argument: object) -> bool:
        """See `Attempt`."""
        return frame.f_code.co_name != "add_done_callback" and Attempt.is_point(frame, event, argument)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("_without_lost_sockets")
def test_exception_of_a_handler_at_any_point_leaves_no_task_waiting(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does a task get what another one has asked for; the next loop reads everything."""
    caplog.set_level(logging.CRITICAL, "asyncio")  # a record would keep sockets that an interrupt has lost
    monkeypatch.setattr("cachedeco.backends.server.FIRST_PAUSE", 0)
    cache, keys = make(), names(4)
    cache.set_many({key: key for key in keys})

    async def read_all() -> list[Any]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            first = await asyncio.gather(*[cache.aget(key) for key in keys[:2]], return_exceptions=True)
            return [*first, *await asyncio.gather(*[cache.aget(key) for key in keys[2:]], return_exceptions=True)]

    found, fell = [set[object]() for _ in keys], list[str]()
    with handled():
        for point in count(0, of_length(usual=3, soak=1)):
            attempt = AttemptOnLoop(point)
            seen: list[Any] = []
            attempt.run(lambda: seen.extend(asyncio.run(read_all())))  # noqa: B023 -- called here
            for values, value in zip(found, seen, strict=False):
                values.add(type(value) if isinstance(value, BaseException) else value)
            assert keys == asyncio.run(read_all()), attempt.fell
            if not attempt.fell:
                break
            fell.append(attempt.fell)

    assert [{key, None, Expired} | values for key, values in zip(keys, found, strict=True)] == [
        {key, None, Expired} for key in keys
    ]
    assert len(fell) > FEWEST_POINTS


def test_command_waits_for_no_connection_whose_task_was_cancelled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ends a program may cancel all tasks of the loop, before one of ours has begun, and go on."""
    monkeypatch.setattr("cachedeco.backends.server.FIRST_PAUSE", 0)
    cache, [key] = make(), names(1)
    cache.set(key, "value")

    async def work() -> list[Any]:
        waiting = asyncio.ensure_future(cache.aget(key))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
            task.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [await waiting, await cache.aget(key)]

    assert [None, "value"] == asyncio.run(work())
