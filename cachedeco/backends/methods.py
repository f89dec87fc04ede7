"""
Methods of a Django cache that are the same in all our backends, those for async code among them.

These use connections of the event loop. Where it can have none of its own, the whole sync method runs in Django's
thread for sync code. Django 6.1 does so for all; the twins of earlier versions consist of several commands, with other
results.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cachedeco.backends.server import UnreachableError
from cachedeco.backends.writes import FailedKeys

Method = TypeVar("Method", bound=Callable[..., Any])
BackendTimeout = Any  # seconds, None for ever, or DEFAULT_TIMEOUT, which is Django's sentinel
_MISSING = object()


def by_sync_thread(name: str) -> Callable[..., Any]:
    """Return the async twin of a method: the whole sync method runs in Django's thread for sync code."""

    async def twin(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(getattr(self, name), thread_sensitive=True)(*args, **kwargs)

    twin.__name__ = f"a{name}"
    twin.__doc__ = f"See {name}()."
    return twin


def native(method: Method) -> Method:
    """Decorate a method of `CommonMethods`: use it where event loops can have connections of their own."""
    by_hop = by_sync_thread(method.__name__[1:])

    @wraps(method)
    async def twin(self: "CommonMethods", *args: Any, **kwargs: Any) -> Any:
        return await (method if self._cache.natively_async else by_hop)(self, *args, **kwargs)

    return cast("Method", twin)


class CommonMethods(BaseCache):
    """
    Of a backend whose reads from an unreachable server are misses, and whose writes to it raise.

    Its client has twins of its methods for event loops, and says by `natively_async` whether these can be used.
    """

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

    # --- for async code ---

    @native
    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """See get()."""
        return await self._cache.aget(self.make_and_validate_key(key, version=version), default)

    @native
    async def aget_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """See get_many()."""
        names = {self.make_and_validate_key(key, version=version): key for key in keys}
        return {names[made]: value for made, value in (await self._cache.aget_many(names)).items()}

    @native
    async def aset(
        self, key: str, value: Any, timeout: BackendTimeout = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """See set()."""
        made = self.make_and_validate_key(key, version=version)
        await self._cache.aset(made, value, self.get_backend_timeout(timeout))

    @native
    async def aadd(
        self, key: str, value: Any, timeout: BackendTimeout = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """See add()."""
        made = self.make_and_validate_key(key, version=version)
        return bool(await self._cache.aadd(made, value, self.get_backend_timeout(timeout)))

    @native
    async def atouch(self, key: str, timeout: BackendTimeout = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """See touch()."""
        made = self.make_and_validate_key(key, version=version)
        return bool(await self._cache.atouch(made, self.get_backend_timeout(timeout)))

    @native
    async def adelete(self, key: str, version: int | None = None) -> bool:
        """See delete()."""
        return bool(await self._cache.adelete(self.make_and_validate_key(key, version=version)))

    @native
    async def aincr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """
        See incr().

        Raises:
            ValueError: There is no such value.
        """
        total: int | None = await self._cache.aincr(self.make_and_validate_key(key, version=version), delta)
        if total is None:
            msg = f"Key {key!r} not found"
            raise ValueError(msg)
        return total

    @native
    async def aset_many(
        self, data: Mapping[str, Any], timeout: BackendTimeout = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        """See set_many()."""
        keys, values = self._make_keys(data, version)
        return self._keys_given(keys, await self._cache.astore_many(values, self.get_backend_timeout(timeout)))

    @native
    async def adelete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        """See delete_many()."""
        await self._cache.adelete_many([self.make_and_validate_key(key, version=version) for key in keys])

    @native
    async def aclear(self) -> Any:
        """See clear()."""
        return await self._cache.aclear()

    aget_or_set = by_sync_thread("get_or_set")
    aincr_version = by_sync_thread("incr_version")

    def _make_keys(self, data: Mapping[str, Any], version: int | None) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the keys by what is made of them, and the values by that."""
        keys = {self.make_and_validate_key(key, version=version): key for key in data}
        return keys, {made: data[key] for made, key in keys.items()}

    @staticmethod
    def _keys_given(keys: Mapping[str, str], failed: FailedKeys) -> FailedKeys:
        """Return failed keys as they were given."""
        given = FailedKeys(keys[made] for made in failed)
        given.error = failed.error
        return given
