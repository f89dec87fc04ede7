"""
A program that forks while its cache is in use: `python -m tests.backends.forking unix:/path` prints what went well.

In a process of its own, as pytest's has threads, with which Python 3.12 and newer forbid a fork.
"""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from django.conf import settings

TURNS = 50
# Seconds, after which a child that waits for a lock for ever is killed.
PATIENCE = 10


def in_child(work: Callable[[], object]) -> bool:
    """Tell whether some work ends in a child, and well."""
    pid = os.fork()
    if not pid:
        signal.alarm(PATIENCE)
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


def main(location: str) -> None:
    """Print a line for each thing that went well."""
    from cachedeco.backends import server
    from cachedeco.backends.memcached import MemcachedCache

    def check(cache: Any, name: str) -> None:
        assert is_right(cache, name)

    cache = MemcachedCache(location, {})
    check(cache, "parent")
    if in_child(lambda: check(cache, "child")):
        print("the child reads what it has written")  # noqa: T201 -- that is what it is for
    sockets = [connection.sock for pool in pools_of(cache) for connection, _ in pool]
    check(cache, "parent")
    if sockets == [connection.sock for pool in pools_of(cache) for connection, _ in pool] != []:
        print("the parent has kept its connection")  # noqa: T201 -- as above

    nowhere = MemcachedCache("unix:/nowhere", {})
    forked = Event()
    held = Event()

    def hold() -> None:
        with server._lock:  # noqa: SLF001 -- as a thread does for a moment
            held.set()
            forked.wait(PATIENCE)

    thread = Thread(target=hold)
    thread.start()
    held.wait(PATIENCE)
    warnings.simplefilter("ignore", DeprecationWarning)
    if in_child(lambda: (nowhere.get("key"), check(cache, "child"))):
        print("the child waits for no lock")  # noqa: T201 -- as above
    forked.set()
    thread.join()


def pools_of(cache: Any) -> list[Any]:
    """Return the connections that nobody is using."""
    return [server.pool._idle for server in cache._cache._servers.values()]  # noqa: SLF001 -- looked at, only


if __name__ == "__main__":
    settings.configure()
    logging.getLogger("cachedeco").addHandler(logging.NullHandler())
    main(sys.argv[1])
