"""Methods of a Django cache that are the same in all our backends."""

from collections.abc import Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cachedeco.backends.async_methods import AsyncMethods, BackendTimeout
from cachedeco.backends.server import UnreachableError

_MISSING = object()


class CommonMethods(AsyncMethods):
    """Of a backend whose reads from an unreachable server are misses, and whose writes to it raise."""

    #: The client has the methods `store_many()`, `get_or_raise()`, `is_out_of_reach()` and `prune()`.
    _cache: Any

    def set_many(
        self, data: Mapping[str, Any], timeout: BackendTimeout = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """Store values; return the keys that a server refused, and the keys of unreachable servers."""
        keys, values = self._make_keys(data, version)
        return self._keys_given(keys, self._cache.store_many(values, self.get_backend_timeout(timeout)))

    def close(self, **_: Any) -> None:
        """Keep the connections for the next request; close those that have been idle for too long."""
        self._cache.prune()

    def get_or_set(
        self, key: str, default: Any, timeout: BackendTimeout = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """
        Return the stored value; if there is none, store *default*, or its result if it is callable, and return that.

        An unreachable server is ignored; a refusal of the server is raised.
        """
        value = self.get(key, _MISSING, version=version)
        if value is not _MISSING:
            return value
        value = default() if callable(default) else default
        try:
            self.add(key, value, timeout=timeout, version=version)
        except UnreachableError:
            return value
        # Another caller may have stored a value first.
        return self.get(key, value, version=version)

    def get_or_raise(self, key: str) -> Any:
        """Return the value under a whole key as `get()` does, but raise if the server is unreachable."""
        return self._cache.get_or_raise("get", key, None)

    def is_out_of_reach(self, key: str) -> bool:
        """Tell whether all servers that have a whole key are known to be unreachable; nothing is sent to find out."""
        return bool(self._cache.is_out_of_reach(key))

    def incr_version(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """
        Move a value to another version, and return the new version.

        Raises:
            ValueError: There is no such value.

            UnreachableError: The server is unreachable, so it is unknown whether there is one.
        """
        version = self.version if version is None else version
        made = self.make_and_validate_key(key, version=version)
        value = self._cache.get_or_raise("incr_version", made, _MISSING)
        if value is _MISSING:
            msg = f"Key {key!r} not found"
            raise ValueError(msg)
        self.set(key, value, version=version + delta)
        self.delete(key, version=version)
        return version + delta
