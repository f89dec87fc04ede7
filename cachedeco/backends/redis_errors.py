"""Exceptions for unreachable Redis servers: those of redis-py and of Python, too, as code may catch either."""

from collections.abc import Iterator
from socket import gaierror
from typing import Final

import redis.exceptions

from cachedeco.backends.server import UnreachableError, unreachable
from cachedeco.storage.redis_connections import is_of_server

PRODUCT: Final = "Redis"

# Raised by a broken connection, by a server that is starting, or by bytes that are no answer.
_BROKEN: Final = (
    OSError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.InvalidResponse,
)
# Both took time: waiting for an answer, and for the name server.
_WAITED: Final = (TimeoutError, redis.exceptions.TimeoutError, gaierror)


class RedisCacheError(redis.exceptions.RedisError, UnreachableError):
    """
    A Redis server is unreachable; it is unknown whether a write was carried out.

    The fault of the server or the network, never of the caller. A command that the server refuses raises redis-py's
    `ResponseError`.
    """


class RedisCacheConnectionError(redis.exceptions.ConnectionError, RedisCacheError, ConnectionError):
    """The server refused the connection, or the connection broke: the failure took no time."""


class RedisCacheTimeoutError(redis.exceptions.TimeoutError, RedisCacheError, TimeoutError):
    """The server did not answer within the timeout."""


def is_failure(error: Exception, *, writes: bool) -> bool:  # noqa: ARG001 -- as for other servers
    """Tell whether an error means that the server failed, not that it refused the command, or that that is wrong."""
    return isinstance(error, _BROKEN) or is_of_server(error)


def took_time(error: Exception) -> bool:
    """Tell whether a failure took time: the server hangs, rather than refusing connections."""
    return any(isinstance(each, _WAITED) for each in _chain(error))


def describe_error(error: Exception) -> str:
    """
    Return an error as text, in the words of redis-py, the operating system, TLS or the server.

    Bytes that came instead of an answer are left out, since they may contain keys: a session's key is like a password.
    """
    name = type(error).__name__
    text = "" if isinstance(error, redis.exceptions.InvalidResponse) else str(error).rstrip(".")
    return f"{name}: {text}" if text else name


def unreachable_error(server: str, operation: str, reason: str, *, waits: bool) -> RedisCacheError:
    """Return the exception for a failed command; *reason* and *waits* are its `describe_error()` and `took_time()`."""
    kind = RedisCacheTimeoutError if waits else RedisCacheConnectionError
    return unreachable(kind, PRODUCT, server, operation, reason)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it comes from: redis-py raises errors of its own for those of sockets."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
