"""
The memcached backend: `"BACKEND": "cachedeco.backends.memcached.MemcachedCache"`.

A replacement of Django's `PyMemcacheCache`: it reads the same stored values, and takes the same options. The methods
are Django's; connections, errors and server selection are ours. docs/how-to/memcached.md lists the differences.
"""

from collections.abc import Sequence
from typing import Any, Final

import pymemcache
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.memcached import BaseMemcachedCache

from cachedeco.backends.memcached_answers import STORING, KeyedCommand
from cachedeco.backends.memcached_errors import MemcachedConnectionError, MemcachedError, MemcachedTimeoutError
from cachedeco.backends.memcached_options import check_servers, resolve_options
from cachedeco.backends.memcached_ring import Ring
from cachedeco.backends.methods import BackendTimeout, CommonMethods
from cachedeco.storage.writers import Acknowledged, WholeItem

__all__ = ["MemcachedCache", "MemcachedConnectionError", "MemcachedError", "MemcachedTimeoutError"]

# memcached reads an expiry as a signed 32-bit number: a later moment overflows into the past, and nothing is stored.
# Of a number below -1 it may read only the last bits, which can mean "for ever"; or refuse it, and read the value as a
# command.
LAST_MOMENT: Final = 2**31 - 1
ALREADY_OVER: Final = -1
# Seconds: memcached reads a larger number as a moment.
LONGEST_SPAN: Final = 30 * 24 * 3600


class MemcachedCache(CommonMethods, BaseMemcachedCache):
    """
    A cache on one or several memcached servers; each key always belongs to the same server.

    Reads from an unreachable server are misses: of `get()`, `get_many()` and `has_key()`. Writes to it raise
    `MemcachedError`, which is a `ConnectionError` or a `TimeoutError`; `set_many()` returns the failed keys, as Django
    documents it, and `get_or_set()` the default. Thread-safe. All threads of the process share the connections, which
    stay open after a request.
    """

    #: Tells cachedeco that an invalidation may be sent while another one waits for an unreachable server.
    spares_other_servers = True

    _cache: Ring

    def __init__(self, server: str | Sequence[str], params: dict[str, Any]) -> None:
        """
        Read the entry of `CACHES`; nothing is sent.

        Raises:
            ImproperlyConfigured: `OPTIONS` has an unknown name or a wrong object, or `LOCATION` is no server.
        """
        super().__init__(server, params, library=pymemcache, value_not_found_exception=KeyError)
        check_servers(self.client_servers)
        self._class = Ring
        self._options = resolve_options(params.get("OPTIONS") or {})
        #: Tells cachedeco that `delete()` raises, rather than returning False, if the server has not answered.
        self.deletions_prove_absence = not self._options["ignore_exc"]

    def get_backend_timeout(self, timeout: BackendTimeout = DEFAULT_TIMEOUT) -> int:
        """Return the timeout as memcached takes it, limited to the year 2038."""
        return max(ALREADY_OVER, min(int(super().get_backend_timeout(timeout) or 0), LAST_MOMENT))

    def raw_client(self) -> "RawClient | None":
        """Return direct access to bytes for cachedeco; None if an option changes what is stored for them."""
        return RawClient(self) if self._cache.stores_bytes_unchanged else None


class RawClient:
    """Reads and writes bytes under whole, valid keys, in one trip to each server."""

    def __init__(self, cache: MemcachedCache) -> None:
        """Use the servers of a cache."""
        self._ring = cache._cache  # noqa: SLF001 -- ours
        self._expiry = cache.get_backend_timeout
        self.read = self._ring.read_each
        self.read_chunks = self._ring.read_chunks
        #: Whether `aread()` and its like can be used: event loops can have connections of their own.
        self.natively_async = self._ring.natively_async
        self.aread = self._ring.aread_each
        self.aread_chunks = self._ring.aread_chunks

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store each value whose key is absent; tell which were stored."""
        return self._ring.store_each("add_many", self._commands(b"add", items))

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store values; tell which were acknowledged."""
        return self._ring.store_each("set_many", self._commands(b"set", items))

    async def aset_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `set_each()`."""
        return await self._ring.astore_each("set_many", self._commands(b"set", items))

    def _commands(self, command: bytes, items: Sequence[WholeItem]) -> list[KeyedCommand]:
        commands: list[KeyedCommand] = []
        for key, value, seconds in items:
            # As memcached takes it, for which the backend needs some calls more: 0 is for ever there.
            expire = 0 if seconds is None else seconds if 0 < seconds <= LONGEST_SPAN else self._expiry(seconds)
            commands.append((key, STORING % (command, key.encode(), 0, expire, len(value), value)))
        return commands
