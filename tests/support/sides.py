"""The two sides from which a cached function is called, so that a test says once what holds for both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import FunctionType, MethodType
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync

from cachedeco import CachedQuery, CachedQueryMany, cached_query, cached_query_many


@dataclass(frozen=True)
class Side:
    """Sync code with a `def`, or async code with an `async def`."""

    is_async: bool

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as this side writes it: the same async function each time."""
        if not self.is_async:
            return function
        attributes = vars(function) if type(function) is FunctionType else {}
        if "_async_side" not in attributes:

            @wraps(function)
            async def inside(*args: object, **kwargs: object) -> object:
                return function(*args, **kwargs)

            attributes["_async_side"] = inside
        return cast("Callable[..., Any]", attributes["_async_side"])

    def cached(self, **options: Any) -> Callable[[Callable[..., Any]], CachedQuery[..., Any]]:
        """Do as `cached_query()`, with the function as this side writes it."""

        def decorate(function: Callable[..., Any]) -> CachedQuery[..., Any]:
            return cached_query(**options)(self.of(function))

        return decorate

    def many(self, **options: Any) -> Callable[[Callable[..., Any]], CachedQueryMany[..., Any, Any]]:
        """Do as `cached_query_many()`, with the function as this side writes it."""

        def decorate(function: Callable[..., Any]) -> CachedQueryMany[..., Any, Any]:
            return cached_query_many(**options)(self.of(function))

        return decorate

    def call(self, function: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        """Call a cached function, or a verb of one: on the async side its twin. Async code runs in this thread."""
        if not self.is_async:
            return function(*args, **kwargs)
        if type(function) is MethodType:  # a cached method says that it is one
            function = getattr(function.__self__, f"a{function.__name__}")

        async def awaited() -> object:
            return await function(*args, **kwargs)

        return async_to_sync(awaited)()


SYNC = Side(is_async=False)
ASYNC = Side(is_async=True)

# Runs a test once on either side, which it takes as `side`.
both = pytest.mark.parametrize("side", [pytest.param(SYNC, id="sync"), pytest.param(ASYNC, id="async")])
