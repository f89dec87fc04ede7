"""What the storm reads through: cachedeco, and the controls, each behind the same few methods."""

import asyncio
from collections.abc import Callable
from itertools import count
from time import sleep
from typing import Any, Protocol

from asgiref.sync import sync_to_async

from benchmarks.storming import rows
from benchmarks.storming.plan import TIMEOUT, Plan

# Of the writes that invalidate a namespace, one in so many takes the one that holds all rows.
WHOLE_NAMESPACE = 16


class Computation:
    """What is cached: a row's version, read, held for a while, and returned."""

    def __init__(self, seconds: float) -> None:
        """Hold what was read for so long."""
        self.seconds = seconds
        self.hold: Callable[[], object] = lambda: sleep(seconds)
        self._serials = count()

    def __call__(self, row: int) -> int:
        """Compute."""
        next(self._serials)  # threads lose none of these
        found = rows.version(row)
        self.hold()
        return found

    async def awaited(self, row: int) -> int:
        """Compute, from async code."""
        next(self._serials)
        found = await sync_to_async(rows.version)(row)
        await asyncio.sleep(self.seconds)
        return found

    def made(self) -> int:
        """Return how often this process has computed. Call it once."""
        return next(self._serials)


class Contender(Protocol):
    """One way to cache."""

    computation: Computation

    @property
    def read(self) -> Callable[[int], int]:
        """Takes a row and returns its version, cached."""

    def invalidate(self, row: int, turn: int) -> None:
        """Invalidate a row; the ways to do so take turns."""


class Cachedeco:
    """Ours: a function, and an async one over the same rows."""

    def __init__(self, _plan: Plan, computation: Computation) -> None:
        """Decorate them."""
        from cachedeco import Namespace, cached_query

        def read(row: int) -> int:
            return computation(row)

        async def aread(row: int) -> int:
            return await computation.awaited(row)

        options: dict[str, Any] = {"namespace": "row:{row}", "timeout": TIMEOUT, "ignore": ("computation",)}
        hiding = {**options, "namespace": None}
        self.computation = computation
        self.read: Any = cached_query(name="storm.read", **options)(read)
        self.aread: Any = cached_query(name="storm.aread", **options)(aread)
        # Of rows of which writes are hidden: nothing invalidates them.
        self.hiding: Any = cached_query(name="storm.hiding", **hiding)(read)
        self.ahiding: Any = cached_query(name="storm.ahiding", **hiding)(aread)
        self._namespace = Namespace

    def invalidate(self, row: int, turn: int) -> None:
        """Invalidate the row's calls, or its namespace, or the one above that."""
        if turn % 2:
            self.read.invalidate(row)
            self.aread.invalidate(row)
        elif turn % (2 * WHOLE_NAMESPACE):
            self._namespace("row", row).invalidate()
        else:
            self._namespace("row").invalidate()


class GetOrSet:
    """What Django's documentation shows: `get_or_set`, and `delete` after the commit."""

    def __init__(self, _plan: Plan, computation: Computation) -> None:
        """Keep the computation."""
        self.computation = computation

    def read(self, row: int) -> int:
        """Return the row's version, cached."""
        from django.core.cache import cache

        found: Any = cache.get_or_set(f"get_or_set:{row}", lambda: self.computation(row), TIMEOUT)
        return int(found)

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete what is stored."""
        from django.core.cache import cache

        cache.delete(f"get_or_set:{row}")


class CacheMemoize:
    """django-cache-memoize."""

    def __init__(self, _plan: Plan, computation: Computation) -> None:
        """Decorate the function."""
        from cache_memoize import cache_memoize  # type: ignore[import-untyped] # ships no types

        def read(row: int) -> int:
            return computation(row)

        self.computation = computation
        self.read: Any = cache_memoize(TIMEOUT)(read)

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete what is stored."""
        self.read.invalidate(row)


class Dogpile:
    """dogpile.cache, whose mutex keeps the threads of a process from computing the same at once."""

    def __init__(self, plan: Plan, computation: Computation) -> None:
        """Decorate the function."""
        from dogpile.cache import make_region

        def read(row: int) -> int:
            return computation(row)

        self.computation = computation
        region = make_region().configure(expiration_time=TIMEOUT, **_region_settings(plan))
        self.read: Any = region.cache_on_arguments()(read)

    def invalidate(self, row: int, _turn: int) -> None:
        """Delete what is stored."""
        self.read.invalidate(row)


def _region_settings(plan: Plan) -> dict[str, Any]:
    if plan.backend == "memcached":
        eager = {"hashclient_retry_attempts": 0, "hashclient_dead_timeout": 0}
        return {"backend": "dogpile.cache.pymemcache", "arguments": {"url": [plan.cache_location], **eager}}
    patience = {"socket_timeout": plan.patience, "socket_connect_timeout": plan.patience}
    return {"backend": "dogpile.cache.redis", "arguments": {"url": plan.cache_location, **patience}}


CONTENDERS: dict[str, Callable[[Plan, Computation], Contender]] = {
    "cachedeco": Cachedeco,
    "get_or_set": GetOrSet,
    "django-cache-memoize": CacheMemoize,
    "dogpile.cache": Dogpile,
}


def contenders(plan: Plan) -> dict[str, Contender]:
    """Return those of the plan, ours first, each with a computation of its own."""
    return {name: CONTENDERS[name](plan, Computation(plan.computation)) for name in plan.contenders}
