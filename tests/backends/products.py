"""Our backends, as a test takes any of them: a cache on a server of the test's own, and what the server has to say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymemcache.client.base import Client

from cachedeco.backends.memcached import MemcachedConnectionError, MemcachedTimeoutError
from cachedeco.backends.redis import RedisCacheConnectionError, RedisCacheTimeoutError
from cachedeco.backends.server import Server
from tests.backends.caches import WAITS, cache_apart, cache_on
from tests.backends.contract import Backend
from tests.backends.redis_caches import client_of, opened_at, redis_apart, redis_on
from tests.support.servers import HOST, Memcached, Redis


@dataclass(frozen=True)
class Product:
    """One of our backends."""

    name: str  #: what errors and the log call its servers
    backend: Backend
    program: str  #: as fixtures of servers are called
    on: Callable[..., Any]  #: returns a cache on a server, which waits long for an answer
    apart: Callable[..., Any]  #: the same, in a place of its own on a server that others use as well
    server_of: Callable[[Any], Server]  #: the only server of a cache
    idle: Callable[[Any], Sequence[object]]  #: the connections that a cache keeps
    count: Callable[[Any], int]  #: how many connections a server has seen, the one that asks included
    plant: Callable[[Any, str, bytes], None]  #: puts bytes under a whole key that the backend can't read
    refused: type[OSError]
    late: type[OSError]
    cleared: object  #: what clear() gives where it has cleared nothing

    def error(self, way: str) -> type[OSError]:
        """Return the error of a server that was killed, or paused."""
        return {"kill": self.refused, "pause": self.late}[way]


def _plant_in_memcached(server: Memcached, key: str, data: bytes) -> None:
    client = Client((HOST, server.port), **WAITS)
    client.set(key, data, flags=1, noreply=False)
    client.close()


def _plant_in_redis(server: Redis, key: str, data: bytes) -> None:
    with client_of(server) as client:
        client.set(key, data)


def _redis_server_of(cache: Any) -> Server:
    server: Server = cache._cache.server_of(None, write=True)
    return server


MEMCACHED = Product(
    name="memcached",
    backend="ours",
    program="memcached",
    on=cache_on,
    apart=cache_apart,
    server_of=lambda cache: next(iter(cache._cache._servers.values())),
    idle=lambda cache: [connection for connection, _ in MEMCACHED.server_of(cache).pool.idle],  # type: ignore[attr-defined] # ours
    count=lambda server: int(server.stats()["total_connections"]),
    plant=_plant_in_memcached,
    refused=MemcachedConnectionError,
    late=MemcachedTimeoutError,
    cleared=None,
)
REDIS = Product(
    name="Redis",
    backend="our redis",
    program="redis",
    on=redis_on,
    apart=redis_apart,
    server_of=_redis_server_of,
    idle=lambda cache: [each for idle in REDIS.server_of(cache).pool.idle.values() for each, _ in idle],  # type: ignore[attr-defined] # ours
    count=opened_at,
    plant=_plant_in_redis,
    refused=RedisCacheConnectionError,
    late=RedisCacheTimeoutError,
    cleared=False,
)
PRODUCTS = (MEMCACHED, REDIS)
