"""
Methods of a client, written once: a method gives its requests, and sync and async code each have a way to send them.

A request is one command to one server. A method is a generator that yields requests, gets their answers, and returns
its result; one of a single request may return that, if its answer is the result.
"""

from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Final, Generic, NamedTuple, ParamSpec, TypeVar

from cachedeco.backends.exchange import Exchange
from cachedeco.backends.server import OnConnection, Server
from cachedeco.backends.writes import log_lost_write

C = TypeVar("C", bound="Client")
P = ParamSpec("P")
T = TypeVar("T")

# What is lost with a server, as the answer that stands for it: the error itself, which is not raised.
ERROR: Final[Any] = object()


class Request(NamedTuple, Generic[T]):
    """One command to one server."""

    operation: str  #: what is done, for errors and the log
    server: Server
    exchange: Exchange[T]
    lost: T  #: the answer of a read if the server is unreachable, and of a write if that is ignored; or `ERROR`
    writes: bool


Requests = Generator[Request[Any], Any, T]


class Client:
    """Sends requests. Reads from an unreachable server are misses; writes to it raise, or are logged and ignored."""

    _product: ClassVar[str]
    _ignore_exc: bool
    _read_errors: tuple[type[Exception], ...]  #: those that are misses
    _write_errors: tuple[type[Exception], ...]  #: those that the option ignore_exc ignores

    if TYPE_CHECKING:

        def _over(self, exchange: Exchange[T]) -> OnConnection[T]:
            """Return what carries out an exchange on a connection of sync code."""
            raise NotImplementedError

    def _send(self, request: Request[Any]) -> Any:
        operation, server, exchange, _, writes = request
        errors = self._write_errors if writes else self._read_errors
        try:
            return server.run(operation, self._over(exchange), writes=writes)
        except errors as error:
            return self._answer_for(request, error)

    async def _asend(self, request: Request[Any]) -> Any:
        operation, server, exchange, _, writes = request
        errors = self._write_errors if writes else self._read_errors
        _ = exchange.command  # what has no bytes is an error of the caller, and not of a connection
        try:
            return await server.arun(operation, exchange, writes=writes)
        except errors as error:
            return self._answer_for(request, error)

    def _answer_for(self, request: Request[Any], error: Exception) -> Any:
        """Return what stands for the answer of a request that failed, or raise the error."""
        if request.writes and self._ignore_exc:
            log_lost_write(self._product, request.operation, error)
        elif request.writes and request.lost is not ERROR:
            raise error
        return error if request.lost is ERROR else request.lost


def both(
    method: Callable[Concatenate[C, P], Requests[T] | Request[T]],
) -> tuple[Callable[Concatenate[C, P], T], Callable[Concatenate[C, P], Coroutine[Any, Any, T]]]:
    """Return a method for sync code and one for async code that both send what *method* gives."""

    @wraps(method)
    def sync_method(self: C, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        given: Any = method(self, *args, **kwargs)
        if isinstance(given, Request):
            return self._send(given)
        answer = None
        while True:
            try:
                request = given.send(answer)
            except StopIteration as end:
                return end.value
            answer = self._send(request)

    @wraps(method)
    async def async_method(self: C, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        given: Any = method(self, *args, **kwargs)
        if isinstance(given, Request):
            return await self._asend(given)
        answer = None
        while True:
            try:
                request = given.send(answer)
            except StopIteration as end:
                return end.value
            answer = await self._asend(request)

    return sync_method, async_method
