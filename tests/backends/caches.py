"""Our backend on servers of a test's own, and what the servers have to say about it."""

import uuid
from collections.abc import Iterable
from typing import Any

from pymemcache.client.base import Client

from cachedeco.backends.memcached import MemcachedCache, MemcachedError
from tests.backends.scripted import Scripted
from tests.support.servers import HOST, Memcached
from tests.support.threads import PATIENCE_SECONDS

WAITS = {"connect_timeout": PATIENCE_SECONDS, "timeout": PATIENCE_SECONDS}


def cache_at(*locations: str, **options: Any) -> MemcachedCache:
    """Return a cache on some servers, with some options."""
    return MemcachedCache(list(locations), {"OPTIONS": options})


def cache_on(*servers: Memcached | Scripted, **options: Any) -> MemcachedCache:
    """Return a cache on some servers, which waits long for an answer."""
    return cache_at(*[server.location for server in servers], **{**WAITS, **options})


def cache_apart(server: Memcached, **options: Any) -> MemcachedCache:
    """Do as `cache_on()`, in a place of its own on a server that others use as well."""
    return MemcachedCache(server.location, {"OPTIONS": {**WAITS, **options}, "KEY_PREFIX": uuid.uuid4().hex[:8]})


def held_by(server: Memcached, cache: MemcachedCache, keys: Iterable[str]) -> set[str]:
    """Return those of some keys that a server holds, whichever client put them there."""
    made = {cache.make_key(key).encode(): key for key in keys}
    client = Client((HOST, server.port), **WAITS)
    try:
        return {made[name] for name in client.get_many(list(made))}
    finally:
        client.close()


def lost(cache: MemcachedCache, operation: str, keys: Iterable[str], *arguments: object) -> set[str]:
    """Do something with each key, and return the keys of which it is reported that it failed."""
    failed = set()
    for key in keys:
        try:
            getattr(cache, operation)(key, *arguments)
        except MemcachedError:
            failed.add(key)
    return failed


def opened_by(cache: MemcachedCache, *, connects: bool = True) -> Client:
    """Return a connection of a cache's only server: the one that it used, or one that is not open yet."""
    [server] = cache._cache._servers.values()
    if not connects:
        return server.pool.connection()
    cache.get("key")
    return server.pool.idle[-1][0]
