"""Our Redis backend on servers of a test's own, and what the servers have to say about it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from cachedeco.backends.redis import RedisCache
from tests.backends.caches import PATIENCE
from tests.support.servers import Redis

# Seconds: long for a server that answers, on a machine that does ten other things; and short for one that hangs.
WAITS = {"socket_connect_timeout": 10, "socket_timeout": 10}
BRIEFLY = {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE}


def redis_at(*locations: str, **options: Any) -> RedisCache:
    """Return a cache on some servers, with some options."""
    return RedisCache(list(locations), {"OPTIONS": options})


def redis_on(*servers: Redis, **options: Any) -> RedisCache:
    """Return a cache on some servers; for one that hangs it waits long, unless it is told `**BRIEFLY`."""
    return redis_at(*[server.location for server in servers], **{**WAITS, **options})


def redis_apart(server: Redis, **options: Any) -> RedisCache:
    """Do as `redis_on()`, in a place of its own on a server that others use as well."""
    return RedisCache(server.location, {"OPTIONS": {**WAITS, **options}, "KEY_PREFIX": uuid.uuid4().hex[:8]})


@contextmanager
def client_of(server: Redis) -> Iterator[Any]:
    """Give a client of redis-py's, which is none of the cache."""
    with redis.Redis.from_url(server.location, protocol=2) as client:
        yield client


def opened_at(server: Redis) -> int:
    """Return how many connections a server has seen, this one included."""
    return int(server.info()["total_connections_received"])
