"""
Many threads of many processes on one backend object: does any answer reach the wrong caller?

The object is used, and then the process forks. Each thread of each child writes and reads keys of its own, among keys
that all know, and compares every answer with what only it can know. Now and then a thread is interrupted in the middle
of an answer; what it was writing may then be there or not, and nothing else may.

    $ python -m tests.backends.hammer memcached                # 100,000 operations: 8 processes of 64 threads
    $ python -m tests.backends.hammer redis 5000 4 16          # so many, by so many processes, of so many threads each
"""

import json
import os
import random
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from threading import Thread, current_thread
from time import monotonic
from typing import Any

from django.conf import settings

from tests.backends.caches import WAITS as OF_MEMCACHED
from tests.backends.interrupts import SocketModule
from tests.backends.redis_caches import WAITS as OF_REDIS
from tests.support.servers import Memcached, Redis
from tests.support.threads import PATIENCE_SECONDS

OPERATIONS, PROCESSES, THREADS = 100_000, 8, 64
SHARED = {f"shared-{number}": f"value of {number}" * 20 for number in range(10)}
# Of a thousand reads from a socket so many are interrupted.
INTERRUPTED = 5
MOST_CONNECTIONS = 4096

counts: Counter[str] = Counter()


class Interrupted(BaseException):
    """As gevent's Timeout and a worker's end are: no Exception."""


class RiskySocket(socket.socket):
    """A socket of which some reads are interrupted, and which is not to be used after that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin well."""
        super().__init__(*args, **kwargs)
        self.is_spoiled = False
        self.owner = os.getpid()

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read; or read a little, and raise."""
        if random.randrange(1000) >= INTERRUPTED or current_thread().name != "caller":
            return super().recv(size, flags)
        super().recv(random.randrange(1, 10), flags)
        self.is_spoiled = True
        raise Interrupted

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """Do the same: hiredis's parser reads so."""
        data = self.recv(size or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Count what should not be sent."""
        counts["sent on an interrupted connection"] += self.is_spoiled
        counts["sent on another process's connection"] += self.owner != os.getpid()
        super().sendall(data, flags)


class Caller:
    """One thread: what it has stored, as far as it knows."""

    def __init__(self, cache: Any, name: str) -> None:
        """Store nothing yet."""
        self.cache = cache
        self.name = name
        self.turn = 0
        self.held = self.fresh()

    def fresh(self) -> dict[str, set[object]]:
        """Return keys that were never used, with what each may hold, None standing for nothing."""
        return {f"{self.name}-{self.turn}-{number}": {None} for number in range(3)}

    def call(self, times: int) -> None:
        """Do something, so many times."""
        acts: list[Callable[[str], None]] = [self.get, self.get_many, self.set, self.add, self.delete, self.set_many]
        for self.turn in range(1, times + 1):  # the keys of turn 0 are in use by then
            key = random.choice(list(self.held))
            counts["operations"] += 1
            try:
                random.choice(acts)(key)
            except Interrupted:
                counts["interrupted"] += 1
            except Exception as error:  # noqa: BLE001 -- each is reported
                counts[f"raised {type(error).__name__}: {error}"] += 1

    def get(self, key: str) -> None:
        """Read one key."""
        self.compare(key, self.cache.get(key))

    def get_many(self, key: str) -> None:
        """Read one key among those that all know."""
        found = self.cache.get_many([*SHARED, key, "nothing"])
        self.compare(key, found.pop(key, None))
        counts["wrong"] += found != SHARED

    def set(self, key: str) -> None:
        """Write one key."""
        value = self.value()
        self.held[key].add(value)
        self.cache.set(key, value)
        self.held[key] = {value}

    def set_many(self, _key: str) -> None:
        """Write all keys."""
        values = {key: self.value() for key in self.held}
        # Where it is interrupted at the first answer, the server is still at work on the others.
        self.held = self.fresh()
        counts["wrong"] += self.cache.set_many(values) != []
        self.held = {key: {value} for key, value in values.items()}

    def add(self, key: str) -> None:
        """Write one key where there is nothing."""
        value, may_be = self.value(), self.held[key]
        self.held[key] = may_be | {value}
        added = self.cache.add(key, value)
        counts["wrong"] += (None not in may_be) if added else may_be == {None}
        self.held[key] = {value} if added else may_be - {None}

    def delete(self, key: str) -> None:
        """Delete one key."""
        may_be = self.held[key]
        self.held[key] = may_be | {None}
        deleted = self.cache.delete(key)
        counts["wrong"] += may_be == {None} if deleted else None not in may_be
        self.held[key] = {None}

    def compare(self, key: str, found: object) -> None:
        """Count an answer that is none of those that there can be."""
        counts["wrong"] += found not in self.held[key]
        self.held[key] = {found}

    def value(self) -> str:
        """Return what no other worker stores, short or long."""
        return f"{self.name}:{self.turn}:" + "x" * random.choice([1, 100, 20_000])


def main(kind: str, operations: int = OPERATIONS, processes: int = PROCESSES, threads: int = THREADS) -> dict[str, Any]:
    """Run it, and return what was counted."""
    # With more memory than is needed: what was evicted would be taken for wrong.
    with SERVERS[kind]() as server:
        cache = made_cache(server)
        cache.set_many(SHARED, None)
        before = connections(server)
        began = monotonic()
        pipes = [
            forked(cache, f"{number}", threads, -(-operations // (processes * threads))) for number in range(processes)
        ]
        most = 0
        for pid, _ in pipes:
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                most = max(most, connections(server)["curr_connections"])
        total: Counter[str] = Counter(wrong=0)
        for _, pipe in pipes:
            with pipe:
                total.update(json.loads(pipe.read()))
        seconds = monotonic() - began
        # This process's own connection has been left alone by all those children.
        total["wrong"] += cache.get_many(SHARED) != SHARED
        after, until = connections(server), monotonic() + PATIENCE_SECONDS
        while after["curr_connections"] > before["curr_connections"] and monotonic() < until:
            after = connections(server)  # it may not have noticed yet that a process has ended
        evictions = int(server.stats()["evictions"]) if isinstance(server, Memcached) else 0
    return {
        **total,
        "evictions": evictions,
        "processes": processes,
        "threads of each": threads,
        "seconds": round(seconds, 1),
        "most connections at once": most,
        # The server may have counted before one that was closed already, as that which asked whether it had started.
        "connections at the end": max(0, after["curr_connections"] - before["curr_connections"]),
    }


def forked(cache: Any, name: str, threads: int, times: int) -> tuple[int, Any]:
    """Run some callers in a child, and return its id, and where its counts will be read from."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading)
    random.seed(name)
    callers = [Caller(cache, f"{name}-{number}") for number in range(threads)]
    running = [Thread(target=caller.call, args=[times], name="caller") for caller in callers]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for caller in callers:  # at rest, too, everybody finds what is their own
        for key in caller.held:
            caller.get(key)
    os.write(writing, json.dumps(counts).encode())
    os._exit(0)


def made_cache(server: Memcached | Redis) -> Any:
    """Return the one backend object."""
    if isinstance(server, Memcached):
        from cachedeco.backends.memcached import MemcachedCache

        options = {"socket_module": SocketModule(RiskySocket), **OF_MEMCACHED}
        return MemcachedCache(server.location, {"OPTIONS": options})
    from cachedeco.backends.redis import RedisCache

    socket.socket = RiskySocket  # type: ignore[misc] # redis-py takes no other module
    return RedisCache(server.location, {"OPTIONS": OF_REDIS})


SERVERS: dict[str, Callable[[], Memcached | Redis]] = {
    "memcached": lambda: Memcached("-c", str(MOST_CONNECTIONS), "-m", "1024"),
    "redis": lambda: Redis("--maxclients", str(MOST_CONNECTIONS), "--maxmemory", "1gb"),
}


def connections(server: Memcached | Redis) -> dict[str, int]:
    """Return how many connections the server has."""
    if isinstance(server, Memcached):
        stats = server.stats()
        return {name: int(stats[name]) for name in ("curr_connections", "total_connections")}
    info = server.info()
    return {
        "curr_connections": int(info["connected_clients"]),
        "total_connections": int(info["total_connections_received"]),
    }


if __name__ == "__main__":
    settings.configure()
    warnings.simplefilter("error", ResourceWarning)
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:])), indent=2))  # noqa: T201 -- that is what it is for
