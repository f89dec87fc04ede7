"""Methods of a Django cache that are the same in all our backends."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cachedeco.backends.server import UnreachableError

Timeout = Any  # seconds, None for ever, or DEFAULT_TIMEOUT, which is Django's sentinel

_MISSING = object()


def _async_twin(name: str) -> Callable[..., Any]:
    """
    Return the async twin of a method: the whole sync method runs in Django's thread for sync code.

    Django 6.1 does the same; the twins of earlier versions consist of several commands, with other results.
    """

    async def twin(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(getattr(self, name), thread_sensitive=True)(*args, **kwargs)

    twin.__name__ = f"a{name}"
    twin.__doc__ = f"See {name}()."
    return twin


class CommonMethods(BaseCache):
    """Of a backend whose reads from an unreachable server are misses, and whose writes to it raise."""

    @abstractmethod
    def read_or_raise(self, operation: str, key: str, default: Any, version: int | None) -> Any:
        """Return a value; raise if the server is unreachable, for operations that report a miss."""
        ...

    def get_or_set(self, key: str, default: Any, timeout: Timeout = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
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

    def incr_version(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """
        Move a value to another version, and return the new version.

        Raises:
            ValueError: There is no such value.

            UnreachableError: The server is unreachable, so it is unknown whether there is one.
        """
        version = self.version if version is None else version
        value = self.read_or_raise("incr_version", key, _MISSING, version)
        if value is _MISSING:
            msg = f"Key {key!r} not found"
            raise ValueError(msg)
        self.set(key, value, version=version + delta)
        self.delete(key, version=version)
        return version + delta

    aget_many = _async_twin("get_many")
    aset_many = _async_twin("set_many")
    adelete_many = _async_twin("delete_many")
    aget_or_set = _async_twin("get_or_set")
    aincr = _async_twin("incr")
    aincr_version = _async_twin("incr_version")
