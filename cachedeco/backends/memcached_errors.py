"""Exceptions for unreachable memcached servers."""

from socket import gaierror
from typing import Final

from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)

from cachedeco.backends.server import UnreachableError, unreachable

PRODUCT: Final = "memcached"


class UnauthenticatedError(MemcacheClientError):
    """The server wants a name and a password, which pymemcache does not send, and refuses all that it is asked."""


# Raised by a broken connection, a server that wants a login, or bytes that are no answer: ValueError if a line can't be
# parsed, LookupError if the answer has the value of a key that the command did not name.
_BROKEN: Final = (
    OSError,
    MemcacheUnexpectedCloseError,
    UnauthenticatedError,
    MemcacheUnknownError,
    ValueError,
    LookupError,
)
# Both took time: waiting for an answer, and for the name server.
_WAITED: Final = (TimeoutError, gaierror)


class MemcachedError(UnreachableError):
    """
    A memcached server is unreachable; it is unknown whether a write was carried out.

    The fault of the server or the network, never of the caller. A command that the server refuses raises another
    error: the method returns the refusal, or raises pymemcache's `MemcacheServerError` or `MemcacheClientError`.
    """


class MemcachedConnectionError(MemcachedError, ConnectionError):
    """The server refused the connection, or the connection broke: the failure took no time."""


class MemcachedTimeoutError(MemcachedError, TimeoutError):
    """The server did not answer within the timeout."""


def is_failure(error: Exception, *, writes: bool) -> bool:
    """
    Tell whether an error means that the server failed, not that it refused the command or that the command is wrong.

    A refusal to read counts as a failure: a proxy answers so when the server behind it is down. A key that UTF-8 can't
    encode is the caller's fault: otherwise a user who may choose a key could make the server count as unreachable.
    """
    if isinstance(error, UnicodeEncodeError):
        return False
    if isinstance(error, MemcacheServerError) and not isinstance(error, MemcacheUnexpectedCloseError):
        return not writes
    return isinstance(error, (*_BROKEN, MemcacheServerError))


def took_time(error: Exception) -> bool:
    """Tell whether a failure took time: the server hangs, rather than refusing connections."""
    return isinstance(error, _WAITED)


def describe_error(error: Exception) -> str:
    """
    Return an error as text, in the words of the operating system, TLS or the server.

    Bytes that came instead of an answer are left out, since they may contain keys: a session's key is like a password.
    """
    name = type(error).__name__
    has_text = isinstance(error, OSError | MemcacheServerError | UnauthenticatedError) and str(error)
    return f"{name}: {error}" if has_text else name


def unreachable_error(server: str, operation: str, reason: str, *, waits: bool) -> MemcachedError:
    """Return the exception for a failed command; *reason* and *waits* are its `describe_error()` and `took_time()`."""
    kind = MemcachedTimeoutError if waits else MemcachedConnectionError
    return unreachable(kind, PRODUCT, server, operation, reason)
