"""Our Redis backend on servers of a test's own, and what the servers have to say about it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from cachedeco.backends.redis import RedisCache
from tests.support.servers import Redis
from tests.support.threads import PATIENCE_SECONDS

WAITS = {"socket_connect_timeout": PATIENCE_SECONDS, "socket_timeout": PATIENCE_SECONDS}


def redis_at(*locations: str, **options: Any) -> RedisCache:
    """Return a cache on some servers, with some options."""
    return RedisCache(list(locations), {"OPTIONS": options})


def redis_on(*servers: Redis, **options: Any) -> RedisCache:
    """Return a cache on some servers, which waits long for an answer."""
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
