"""`RememberedMiddleware`: each request is a block of `remembered()`."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from cachedeco.loading.remembering import remembered


class RememberedMiddleware:
    """
    Look equal calls up once in each request, by `remembered()`. Sync and async.

    The block lasts until the view has returned its response: what a streaming response yields later is outside of it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Take what answers requests, which is async under ASGI."""
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(cast("Any", self))

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer a request."""
        if self._is_async:
            return self._answer(request)
        with remembered():
            return cast("HttpResponseBase", self._get_response(request))

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        with remembered():
            return cast("HttpResponseBase", await self._get_response(request))
