"""
What does a read of five keys cost by each reader, against the backend's own `get_many()` and against a raw socket?

    python benchmarks/bench_readers.py [--rounds 60] [--calls 300]

CPU time of this thread (user and system), so that other work on the machine counts as little as can be. In each round
every contender makes the same number of calls, in random order; "of get_many" is the median of the quotients within the
rounds. The keys are those of a hit: an entry of 684 bytes, and four tokens of 16. The raw socket blocks, sends the same
command, and looks for the end of the answer only. Servers run on this machine, on the same processor where the system
can keep them there, and their own CPU time is not counted.
"""

import argparse
import os
import platform
import socket
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from django.conf import settings
from rounds import Contenders, measured, stay_on_one_processor

NAMES = ["e:shop.views.club_page(7|)", "t:shop.views.club_page(7)", "f:shop.views.club_page()", "n:club", "n:club:7"]
KEYS = [f":1:cachedeco:{name}" for name in NAMES]
VALUES = [b"v" * 684, *[b"t" * 16] * 4]


def raw_memcached(port: int) -> Callable[[], object]:
    """Return a read that does nothing but send and receive."""
    command = f"get {' '.join(KEYS)}\r\n".encode()
    return _raw(port, command, b"END\r\n")


def raw_redis(port: int) -> Callable[[], object]:
    """Return a read that does nothing but send and receive."""
    words = [b"MGET", *[key.encode() for key in KEYS]]
    command = b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
    return _raw(port, command, b"t" * 16 + b"\x94.\r\n")


def _raw(port: int, command: bytes, end: bytes) -> Callable[[], object]:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read() -> bytes:
        connection.sendall(command)
        data = connection.recv(65536)
        while not data.endswith(end):
            data += connection.recv(65536)
        return data

    return read


def contenders(memcached: str, redis: str) -> Contenders:
    """Return what is compared: "get_many" and "reader" of each backend, and the raw sockets."""
    from django.core.cache.backends.locmem import LocMemCache
    from django.core.cache.backends.memcached import PyMemcacheCache
    from django.core.cache.backends.redis import RedisCache

    from cachedeco.backends.memcached import MemcachedCache
    from cachedeco.storage.readers import reader_of

    def whole(key: str, prefix: str, version: int) -> str:  # noqa: ARG001 -- Django's signature
        return key

    params = {"KEY_FUNCTION": whole}
    caches: dict[str, Any] = {
        "ours": MemcachedCache(memcached, params),
        "PyMemcacheCache": PyMemcacheCache(memcached, params),
        "RedisCache": RedisCache(redis, params),
        "LocMemCache": LocMemCache("bench", params),
    }
    calls: Contenders = {}
    for name, cache in caches.items():
        cache.set_many(dict(zip(KEYS, VALUES, strict=True)), 600)
        read = reader_of(cache)
        if read(KEYS) != VALUES:
            sys.exit(f"The reader of {name} gives other values than were stored.")
        calls[f"{name}, get_many"] = lambda cache=cache: cache.get_many(KEYS)
        calls[f"{name}, reader"] = lambda read=read: read(KEYS)
    calls["memcached, get of 1 key"] = lambda: caches["PyMemcacheCache"].get(KEYS[0])
    calls["memcached, raw socket"] = raw_memcached(int(memcached.rpartition(":")[2]))
    calls["Redis, raw socket"] = raw_redis(int(redis.rpartition(":")[2].partition("/")[0]))
    return calls


def show(times: dict[str, list[float]]) -> None:
    """Print the table."""
    print(f"\n{'':28}{'min':>8}{'median':>9}{'quartiles':>18}{'of get_many':>13}")
    for name, each in times.items():
        low, _, high = quantiles(each, n=4)
        line = f"{name:28}{min(each):7.1f}µ{median(each):8.1f}µ{f'{low:.1f} to {high:.1f}':>18}"
        base = times.get(name.replace("reader", "get_many"))
        if base and base is not each:
            line += f"{median(ours / theirs for ours, theirs in zip(each, base, strict=True)):13.2f}"
        print(line)


def main() -> None:
    """Measure on a memcached and a Redis of our own, and in this process."""
    from tests.support.servers import Memcached, Redis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    settings.configure(DATABASES={})
    packages = ("Django", "pymemcache", "redis")
    print(f"Python {platform.python_version()}, {', '.join(f'{each} {version(each)}' for each in packages)}")
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.rounds} rounds of {options.calls} calls each")
    stay_on_one_processor()
    with Memcached() as memcached, Redis() as redis:
        show(measured(contenders(memcached.location, redis.location), options.rounds, options.calls))


if __name__ == "__main__":
    main()
