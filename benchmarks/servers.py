"""Our backends on the servers of a benchmark, whose clients wait for an answer as long as a busy machine may take."""

from typing import Any, Final

# A timeout would print a warning, and measure a miss in the place of a hit.
PATIENCE_SECONDS: Final = 60


def our_memcached(location: str, **options: Any) -> dict[str, Any]:
    """Return the entry of CACHES for our memcached backend."""
    return _entry("memcached.MemcachedCache", location, ("connect_timeout", "timeout"), options)


def our_redis(location: str) -> dict[str, Any]:
    """Return the entry of CACHES for our Redis backend."""
    return _entry("redis.RedisCache", location, ("socket_connect_timeout", "socket_timeout"), {})


def _entry(backend: str, location: str, timeouts: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "BACKEND": f"cachedeco.backends.{backend}",
        "LOCATION": location,
        "OPTIONS": dict.fromkeys(timeouts, PATIENCE_SECONDS) | options,
    }
