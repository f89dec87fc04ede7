"""
What Django's documentation promises of a cache, one function for each sentence of it, on a `Place` for any backend.

The functions stand in `contract_of_*.py`. Each raises where the promise is not kept; `broken_by` names the backends of
Django's that do not, so that the suite notices when one of them does.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import django
from asgiref.sync import async_to_sync
from django.core.cache import BaseCache

from tests.support.sides import Side

Backend = Literal["ours", "our redis", "memcached", "redis", "locmem"]
BACKENDS: Final[dict[Backend, str]] = {
    "ours": "cachedeco.backends.memcached.MemcachedCache",
    "our redis": "cachedeco.backends.redis.RedisCache",
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
}
THEIRS: Final[frozenset[Backend]] = frozenset({"memcached", "redis", "locmem"})
# Before, the twins for async code are made of several commands where the backend has one.
HAS_WHOLE_TWINS: Final = django.VERSION >= (6, 1)


class Face:
    """A cache as one side calls it: `face.get("key")` is `cache.get("key")`, or `await cache.aget("key")`."""

    def __init__(self, cache: BaseCache, side: Side) -> None:
        """Look at a cache from a side."""
        self.cache = cache
        self._side = side

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method as this side calls it."""
        if not self._side.is_async:
            return getattr(self.cache, name)  # type: ignore[no-any-return]
        return async_to_sync(getattr(self.cache, f"a{name}"))

    def together(self, name: str, calls: Iterable[tuple[object, ...]]) -> list[Any]:
        """Return what some calls of a method give; on the async side they are under way at the same time."""
        if not self._side.is_async:
            return [getattr(self.cache, name)(*call) for call in calls]

        async def gathered() -> list[Any]:
            return await asyncio.gather(*[getattr(self.cache, f"a{name}")(*call) for call in calls])

        return async_to_sync(gathered)()


@dataclass(frozen=True)
class Place:
    """Where a promise is tried: a cache of some backend, and others of other settings in the same place."""

    side: Side
    opened: Callable[[dict[str, Any]], BaseCache]

    def cache(self, **entry: Any) -> Face:
        """Return a cache with more in its entry of CACHES."""
        return Face(self.opened(entry), self.side)


@dataclass(frozen=True)
class Promise:
    """One sentence, and who is known not to keep it."""

    keep: Callable[[Place], None]
    always: frozenset[Backend]
    in_async: frozenset[Backend]
    empties: bool  #: whether it needs a server of its own

    def breakers(self, side: Side) -> frozenset[Backend]:
        """Return the backends that break it."""
        return self.always | (self.in_async if side.is_async else frozenset())


PROMISES: Final[dict[str, Promise]] = {}

NOBODY: Final[frozenset[Backend]] = frozenset()


def promise(
    *, broken_by: Collection[Backend] = NOBODY, by_old_twins: Collection[Backend] = NOBODY, empties: bool = False
) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """
    Add a function to the promises.

    Args:
        broken_by: Django's backends that break it.

        by_old_twins: Those whose methods for async code break it before Django 6.1.

        empties: It empties the server.
    """

    def add(function: Callable[[Place], None]) -> Callable[[Place], None]:
        in_async = NOBODY if HAS_WHOLE_TWINS else frozenset(by_old_twins)
        PROMISES[function.__name__] = Promise(function, frozenset(broken_by), in_async, empties)
        return function

    return add


def raises(kinds: type[Exception] | tuple[type[Exception], ...], work: Callable[[], object]) -> None:
    """Fail unless some work raises."""
    try:
        work()
    except kinds:
        return
    msg = f"it did not raise {kinds}"
    raise AssertionError(msg)
