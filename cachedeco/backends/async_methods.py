"""
Methods of a Django cache for async code, on connections of the event loop.

Where event loops can have none of their own, the whole sync method runs in Django's thread for sync code. Django 6.1
does so for all; the twins of earlier versions consist of several commands, with other results.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cachedeco.backends.writes import FailedKeys

Method = TypeVar("Method", bound=Callable[..., Any])
BackendTimeout = Any  # seconds, None for ever, or DEFAULT_TIMEOUT, which is Django's sentinel


def by_sync_thread(name: str) -> Callable[..., Any]:
    """Return the async twin of a method: the whole sync method runs in Django's thread for sync code."""

    async def twin(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(getattr(self, name), thread_sensitive=True)(*args, **kwargs)

    twin.__name__ = f"a{name}"
    twin.__doc__ = f"See {name}()."
    return twin


def native(method: Method) -> Method:
    """Decorate a method of `AsyncMethods`: use it where event loops can have connections of their own."""
    by_hop = by_sync_thread(method.__name__[1:])

    @wraps(method)
    async def twin(self: "AsyncMethods", *args: Any, **kwargs: Any) -> Any:
        return await (method if self._cache.natively_async else by_hop)(self, *args, **kwargs)

    return cast("Method", twin)


class AsyncMethods(BaseCache):
    """Of a backend whose client has twins for event loops."""

    _cache: Any  #: the client, with the attribute `natively_async`

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
