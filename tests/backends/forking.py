"""
A program that forks while its cache is in use, and prints what went well.

    $ python -m tests.backends.forking memcached unix:/path

In a process of its own, as pytest's has threads, with which Python 3.12 and newer forbid a fork.
"""

import asyncio
import ctypes
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from django.conf import settings
from django.core.signals import request_started
from django.utils.module_loading import import_string

from tests.backends.caches import WAITS as OF_MEMCACHED
from tests.backends.redis_caches import WAITS as OF_REDIS
from tests.support.threads import PATIENCE_SECONDS

# With options, and a server that is not there.
BACKENDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "memcached": ("cachedeco.backends.memcached.MemcachedCache", OF_MEMCACHED, "unix:/nowhere"),
    "redis": ("cachedeco.backends.redis.RedisCache", OF_REDIS, "unix:///nowhere"),
}
TURNS = 50


def in_child(work: Callable[[], object], fork: Callable[[], int] = os.fork) -> bool:
    """Tell whether some work ends in a child, and well."""
    pid = fork()
    if not pid:
        signal.alarm(PATIENCE_SECONDS)  # which kills a child that waits for a lock for ever
        try:
            work()
        except BaseException:  # noqa: BLE001 -- the exit code tells
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def is_right(cache: Any, name: str) -> bool:
    """Tell whether what is written is read, many times."""
    for turn in range(TURNS):
        cache.set(name, (name, turn))
        if cache.get(name) != (name, turn):
            return False
    return True


async def check_on_loop(cache: Any, name: str) -> None:
    """Check that what is written is read, many times."""
    for turn in range(TURNS):
        await cache.aset(name, (name, turn))
        assert await cache.aget(name) == (name, turn)


def connections_of(cache: Any, loop: asyncio.AbstractEventLoop) -> list[Any]:
    """Return the connections that a loop has to the only server of a cache."""
    [server] = [each.server for each in getattr(cache._cache, "_clients", ())] or cache._cache._servers.values()
    return list(server.pool.loops._by_loop[id(loop)]()._current)


def main(kind: str, location: str) -> None:
    """Print a line for each thing that went well."""
    from cachedeco.backends import server

    backend, options, absent = BACKENDS[kind]

    def check(cache: Any, name: str) -> None:
        assert is_right(cache, name)

    cache = import_string(backend)(location, {"OPTIONS": options})
    check(cache, "parent")
    if in_child(lambda: check(cache, "child")):
        print("the child reads what it has written")  # noqa: T201 -- that is what it is for
    sockets = sockets_of(server)
    check(cache, "parent")
    if sockets == sockets_of(server) != []:
        print("the parent has kept its connection")  # noqa: T201 -- as above

    def work_unannounced() -> None:
        request_started.send(None)
        check(cache, "child")
        assert not set(sockets) & set(sockets_of(server))

    # As a server written in C forks: Python's handlers are not called.
    if in_child(work_unannounced, ctypes.PyDLL(None).fork) and sockets == sockets_of(server):
        print("a child of which Python has not been told has its own connection")  # noqa: T201 -- as above

    loop = asyncio.new_event_loop()
    loop.run_until_complete(check_on_loop(cache, "parent"))
    if in_child(lambda: asyncio.run(check_on_loop(cache, "child"))):
        print("the child's event loop reads what it has written")  # noqa: T201 -- as above
    connections = connections_of(cache, loop)
    loop.run_until_complete(check_on_loop(cache, "parent"))
    if connections == connections_of(cache, loop) != []:
        print("the parent's event loop has kept its connection")  # noqa: T201 -- as above
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    nowhere = import_string(backend)(absent, {})
    forked = Event()
    held = Event()

    def hold() -> None:
        with server._lock:
            held.set()
            forked.wait(PATIENCE_SECONDS)

    thread = Thread(target=hold)
    thread.start()
    held.wait(PATIENCE_SECONDS)
    warnings.simplefilter("ignore", DeprecationWarning)
    if in_child(lambda: (nowhere.get("key"), check(cache, "child"))):
        print("the child waits for no lock")  # noqa: T201 -- as above
    forked.set()
    thread.join()


def sockets_of(server: Any) -> list[Any]:
    """Return the sockets of the connections that are idle."""
    pools = [each.pool.idle for each in server._servers.values()]
    idle = [entry for pool in pools for each in (pool.values() if isinstance(pool, dict) else [pool]) for entry in each]
    return [connection.sock if hasattr(connection, "sock") else connection._sock for connection, _ in idle]


if __name__ == "__main__":
    settings.configure()
    logging.getLogger("cachedeco").addHandler(logging.NullHandler())
    main(*sys.argv[1:])
