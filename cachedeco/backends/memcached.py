"""
The memcached backend: `"BACKEND": "cachedeco.backends.memcached.MemcachedCache"`.

Takes the place of Django's `PyMemcacheCache`, finds what that has stored, and takes its options. Django's own code says
what the methods do; what is below it is ours. docs/memcached.md tells what differs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pymemcache
from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.memcached import BaseMemcachedCache

from cachedeco.backends.errors import MemcachedConnectionError, MemcachedError, MemcachedTimeoutError
from cachedeco.backends.options import accepted
from cachedeco.backends.ring import FailedKeys, Ring

__all__ = ["MemcachedCache", "MemcachedConnectionError", "MemcachedError", "MemcachedTimeoutError"]

Timeout = Any  # seconds, None for ever, or DEFAULT_TIMEOUT, which is an object of Django's own

# memcached takes a moment as 32 bits with a sign: a later one is in the past, and nothing would be stored. Of less than
# -1 it may see no more than the last bits, which can be "for ever"; or refuse it, and take the value for a command.
LAST_MOMENT: Final = 2**31 - 1
ALREADY_OVER: Final = -1


def _whole(name: str) -> Callable[..., Any]:
    """
    Return the twin of a method for async code: all of it, in the thread that Django has for such code.

    As Django 6.1 does by itself; before, its own twins are made of several commands, and give what those do.
    """

    async def twin(self: "MemcachedCache", *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(getattr(self, name), thread_sensitive=True)(*args, **kwargs)

    twin.__name__ = f"a{name}"
    twin.__doc__ = f"See {name}()."
    return twin


class MemcachedCache(BaseMemcachedCache):
    """
    One or several memcached servers, among which each key has its own, for ever.

    A server that is out of reach has nothing: `get()`, `get_many()` and `has_key()` find it missing. What is written to
    it raises `MemcachedError`, a `ConnectionError` or a `TimeoutError`; `set_many()` returns the keys, as Django has
    it, and `get_or_set()` the default. Can be used by several threads at once. Connections are the process's: they stay
    open after a request.
    """

    #: Tells cachedeco that what is owed to one server need not keep an invalidation from another.
    spares_other_servers = True

    _cache: Ring

    def __init__(self, server: str | Sequence[str], params: dict[str, Any]) -> None:
        """
        Take what Django has of the entry in `CACHES`; nothing is sent.

        Raises:
            ImproperlyConfigured: `OPTIONS` has one that there is not.
        """
        super().__init__(server, params, library=pymemcache, value_not_found_exception=KeyError)
        self._class = Ring
        self._options = accepted(params.get("OPTIONS") or {})

    def get_backend_timeout(self, timeout: Timeout = DEFAULT_TIMEOUT) -> int:
        """Return the timeout as memcached takes it; one that reaches past 2038 ends then."""
        return max(ALREADY_OVER, min(int(super().get_backend_timeout(timeout) or 0), LAST_MOMENT))

    def set_many(
        self, data: Mapping[str, Any], timeout: Timeout = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """Store values; return the keys of those that were refused, or whose server is out of reach."""
        keys = {self.make_and_validate_key(key, version=version): key for key in data}
        values = {made: data[key] for made, key in keys.items()}
        failed = self._cache.set_multi(values, self.get_backend_timeout(timeout))
        given = FailedKeys(keys[made] for made in failed)
        given.error = failed.error
        return given

    def get_or_set(self, key: str, default: Any, timeout: Timeout = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """
        Return what is stored; else store *default*, or what it returns, and return that.

        Whether it could be stored does not matter where the server is out of reach; what that refuses is raised.
        """
        value = self.get(key, self._missing_key, version=version)
        if value is not self._missing_key:
            return value
        value = default() if callable(default) else default
        try:
            self.add(key, value, timeout=timeout, version=version)
        except MemcachedError:
            return value
        # Another caller may have been first.
        return self.get(key, value, version=version)

    def incr_version(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """
        Give a value another version, and return that.

        Raises:
            ValueError: There is no such value.

            MemcachedError: Nobody knows whether there is.
        """
        version = self.version if version is None else version
        value = self._cache.demand("incr_version", self.make_and_validate_key(key, version=version), self._missing_key)
        if value is self._missing_key:
            msg = f"Key {key!r} not found"
            raise ValueError(msg)
        self.set(key, value, version=version + delta)
        self.delete(key, version=version)
        return version + delta

    def close(self, **_: Any) -> None:
        """Keep the connections for the next request, but for those that nobody has needed for long."""
        self._cache.prune()

    aget_many = _whole("get_many")
    aset_many = _whole("set_many")
    adelete_many = _whole("delete_many")
    aget_or_set = _whole("get_or_set")
    aincr = _whole("incr")
    aincr_version = _whole("incr_version")
